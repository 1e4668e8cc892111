"""lvm.conf's filters in every spelling: a physical volume that was seen before the move is seen after it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest import device
from hikkoshi.guest.device import Disk
from hikkoshi.guest.files import lvm

PV = {"device": "/dev/sda2", "fstype": "LVM2_member"}


def disk(vdev: str = "xvda") -> Disk:
    return Disk([{"device": "/dev/sda1", "fstype": "ext3"}, PV], device.inside(vdev))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('filter = [ "a|^/dev/xvda2$|", "r|.*|" ]', 'filter = [ "a|^/dev/sda2$|", "r|.*|" ]'),
        ('global_filter=["a/xvda/","r/.*/"]', 'global_filter=["a/sda/","r/.*/"]'),
        ('filter = "a|/dev/xvd.*|"', 'filter = "a|/dev/sd.*|"'),
        ('filter = [ "a(xvd[a-z][0-9])", "r{.*}" ]', 'filter = [ "a(sd[a-z][0-9])", "r{.*}" ]'),
        ("filter = [\n  'a|xvda2|', # /dev/xvda2\n  'r|.*|'\n]", "filter = [\n  'a|sda2|', # /dev/xvda2\n  'r|.*|'\n]"),
        ('devices/filter = [ "a[/dev/xvda]", "r|.*|" ]', 'devices/filter = [ "a[/dev/sda]", "r|.*|" ]'),
        ('preferred_names = [ "^/dev/xvda", "^/dev/mapper/" ]', 'preferred_names = [ "^/dev/sda", "^/dev/mapper/" ]'),
        ('types = [ "xvd", 16, "fd", 16 ]', 'types = [ "sd", 16, "fd", 16 ]'),
        ('filter = [ "r|^/dev/(xvda1|xvdb)|" ]', 'filter = [ "r|^/dev/(sda1|xvdb)|" ]'),
        ('filter = [ "a|.*|" ]', 'filter = [ "a|.*|" ]'),
        ('# filter = [ "a|/dev/xvda|" ]', '# filter = [ "a|/dev/xvda|" ]'),
        ('volume_list = [ "xvda" ]', 'volume_list = [ "xvda" ]'),
        # what no rewriting of words finds: the volume's own name is taken first
        ('filter = [ "a|^/dev/x[a-z]+|", "r|.*|" ]', 'filter = [ "a|^/dev/sda2$|", "a|^/dev/x[a-z]+|", "r|.*|" ]'),
        ('filter = "r|^/dev/s|"', 'filter = [ "a|^/dev/sda2$|", "r|^/dev/s|" ]'),
        (
            'filter = [ "a|/dev/disk/by-path/xen-.*|", "r|.*|" ]',
            'filter = [ "a|^/dev/sda2$|", "a|/dev/disk/by-path/xen-.*|", "r|.*|" ]',
        ),
        ('filter = [ "a|51714|", "r|.*|" ]', 'filter = [ "a|^/dev/sda2$|", "a|51714|", "r|.*|" ]'),
        ('filter = [ "a|vbd-51712-part2$|", "r|.*|" ]', 'filter = [ "a|^/dev/sda2$|", "a|vbd-51712-part2$|", "r|.*|" ]'),
        ('filter = [ "a|/dev/block/202:2|", "r|.*|" ]', 'filter = [ "a|/dev/sda2|", "r|.*|" ]'),
        ('filter = [ "a|block/202:[0-9]+|", "r|.*|" ]', 'filter = [ "a|^/dev/sda2$|", "a|block/202:[0-9]+|", "r|.*|" ]'),
        ('filter = [ "a|51730|", "r|.*|" ]', 'filter = [ "a|51730|", "r|.*|" ]'),  # of xvdb
        # names that every device has stay
        ('filter = [ "a|/dev/disk/by-id/lvm-pv-.*|", "r|.*|" ]', 'filter = [ "a|/dev/disk/by-id/lvm-pv-.*|", "r|.*|" ]'),
        # it was not seen, as under DRBD, whose own device has the volume: it stays so
        ('filter = [ "r|^/dev/xvda2$|" ]', 'filter = [ "r|^/dev/sda2$|" ]'),
        ('filter = [ "r|/dev/xvda2|", "a|.*|" ]', 'filter = [ "r|/dev/sda2|", "a|.*|" ]'),
        ('filter = [ "a|^/dev/drbd|", "r|^/dev/xvda|" ]', 'filter = [ "a|^/dev/drbd|", "r|^/dev/sda|" ]'),
        ('filter = [ "a|drbd.*|", "r|xen-vbd-51714|" ]', 'filter = [ "a|drbd.*|", "r|xen-vbd-51714|" ]'),
        # the last one counts
        (
            'filter = [ "r|.*|" ]\nfilter = [ "a|^/dev/x.*|", "r|.*|" ]',
            'filter = [ "r|.*|" ]\nfilter = [ "a|^/dev/sda2$|", "a|^/dev/x.*|", "r|.*|" ]',
        ),
        (
            'filter = [ "a|^/dev/x[a-z]*2|", "r|.*|" ]\nfilter = [ "a|.*|" ]',
            'filter = [ "a|^/dev/x[a-z]*2|", "r|.*|" ]\nfilter = [ "a|.*|" ]',
        ),
        # it was not seen: it stays so
        ('filter = [ "r|.*|" ]', 'filter = [ "r|.*|" ]'),
    ],
)
def test_a_filter_means_the_new_disk(before: str, after: str) -> None:
    assert lvm.prepared(before, disk()) == after
    assert lvm.prepared(after, disk()) == after


def test_of_two_volumes_the_one_that_a_link_means_is_taken() -> None:
    two = Disk([PV, {**PV, "device": "/dev/sda3"}], device.inside("xvda"))
    before = 'filter = [ "a|^/dev/disk/by-path/xen-vbd-51712-part2$|", "r|.*|" ]'
    assert lvm.prepared(before, two) == 'filter = [ "a|^/dev/sda2$|", "r|.*|" ]'


def test_where_a_volume_is_mounted_what_is_left_out_was_no_name_of_the_disk() -> None:
    mounted = Disk([PV, {"device": "/dev/vg/root", "fstype": "ext4", "mountpoint": "/"}], device.inside("sda"))
    assert lvm.prepared('filter = [ "r|^/dev/sd|" ]', mounted) == 'filter = [ "a|^/dev/sda2$|", "r|^/dev/sd|" ]'


def test_classes_within_brackets_are_letters_to_lvm(recwarn: pytest.WarningsRecorder) -> None:
    before = 'filter = [ "a|^/dev/xvda[[:digit:]]$|", "r|.*|" ]'
    assert lvm.prepared(before, disk()) == before.replace("xvda", "sda")
    assert not recwarn.list


def test_a_disk_that_is_counted_from_e_is_meant_too() -> None:
    assert lvm.prepared('filter = [ "a|^/dev/xvde2$|", "r|.*|" ]', disk("sda")) == 'filter = [ "a|^/dev/sda2$|", "r|.*|" ]'


def test_a_filter_of_ide_names_is_meant_too() -> None:
    before = 'filter = [ "a|^/dev/hda2$|", "r|/dev/hdc|", "r|.*|" ]'
    assert lvm.prepared(before, disk("hda")) == 'filter = [ "a|^/dev/sda2$|", "r|/dev/hdc|", "r|.*|" ]'


def test_a_pattern_that_is_no_expression_or_takes_for_ever_is_passed_over() -> None:
    for pattern in ("a|[|", "a|" + "(.*)*" * 30 + "|", "a", "", "x|y|"):
        conf = f'filter = [ "{pattern}", "a|xvda|", "r|.*|" ]'
        assert '"a|sda|"' in lvm.prepared(conf, disk())


QUOTE = st.sampled_from(['"', "'"])
AROUND = st.sampled_from(["||", "//", "()", "[]", "{}", "!!", "##"])
BLANK = st.sampled_from(["", " ", "\n", ' # "a|.*|"\n\t'])


@settings(max_examples=60)
@given(QUOTE, AROUND, BLANK, BLANK, st.sampled_from(["^/dev/xvda2$", "/dev/xvda", "xvd", "xvda[0-9]+"]))
def test_a_filter_means_the_same_however_it_is_written(quote: str, around: str, before: str, after: str, pattern: str) -> None:
    start, end = around
    conf = (
        f"devices {{\nfilter=[{before}{quote}a{start}{pattern}{end}{quote}"
        f"{after},{before}{quote}r{start}.*{end}{quote}{after}]\n}}\n"
    )
    new = lvm.prepared(conf, disk())
    assert lvm.hidden(conf, new, "filter", disk()) == []
    assert new == conf.replace(pattern, pattern.replace("xvda", "sda").replace("xvd", "sd"))
    assert lvm.prepared(new, disk()) == new
