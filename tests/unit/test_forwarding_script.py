"""What a shell script does to the switches for passing packets on: its conditions, its folder, its variables, its blocks."""

import pytest

from hikkoshi.guest.forwarding import forwarding

SWITCH = "/proc/sys/net/ipv4/ip_forward"
RC = "/etc/rc.local"


def said(script: str, **files: str) -> bool | None:
    return forwarding.of({RC: f"#!/bin/sh\n{script}\n", **files})[0]


ON = (
    'FORWARD=yes\nif [ "$FORWARD" = "yes" ]; then\n  echo 1 > SWITCH\nfi',
    "FORWARD=1; [ $FORWARD -eq 1 ] && echo 1 > SWITCH",
    'FORWARD=no\n[ "x$FORWARD" = xyes ] || echo 1 > SWITCH',
    "if [ -f SWITCH ]; then echo 1 > SWITCH; fi",
    'if [ "$(cat SWITCH)" = 0 ]; then echo 1 > SWITCH; fi',
    'case "$1" in start) echo 1 > SWITCH;; stop) echo 0 > SWITCH;; esac',
    "MODE=router\ncase $MODE in\nhost) echo 0 > SWITCH;;\nr*)\n  echo 1 > SWITCH;;\n*) echo 0 > SWITCH;;\nesac",
    'if [ "$IFACE" = eth0 ]; then echo 1 > /proc/sys/net/ipv4/conf/$IFACE/forwarding; fi',
    "echo 1 > /proc/sys/net/ipv4/conf/${IFACE}/forwarding",
    "cd /proc/sys/net/ipv4 && echo 1 > ip_forward",
    "cd /proc/sys/net/ipv4/conf\nfor i in *; do echo 1 > $i/forwarding; done",
    "for i in eth0 eth1; do echo 1 > /proc/sys/net/ipv4/conf/$i/forwarding; done",
    "tee SWITCH <<< 1",
    "FWD=1\nstart() {\n  echo $FWD > SWITCH\n}\nstart",
    "ENABLED=yes\n[ $ENABLED = yes ] || exit 0\necho 1 > SWITCH",
    "usage() {\n  exit 1\n}\necho 1 > SWITCH",
    "cat <<END\nexit if fi\nEND\necho 1 > SWITCH",
    "sysctl -e -p /etc/sysctl.conf /etc/sysctl.d/x",
    "run-parts /etc/rc.local.d",
    "for s in /etc/rc.local.d/*; do . $s; done",
)
OFF = (
    'FORWARD=no\nif [ "$FORWARD" = "yes" ]; then\n  echo 1 > SWITCH\nfi',
    "ROUTER=0\nif [ $ROUTER -eq 1 ]; then\n  echo 1 > SWITCH\nelse\n  echo 0 > SWITCH\nfi",
    "ROUTER=0\nif [ $ROUTER -eq 1 ]; then echo 1 > SWITCH; elif [ $ROUTER = 0 ]; then echo 0 > SWITCH; else echo 1 > SWITCH; fi",
    'NAT=""\nif [ -n "$NAT" ] && [ -f SWITCH ]; then echo 1 > SWITCH; fi',
    "ENABLED=no\n[ $ENABLED = yes ] || exit 0\necho 1 > SWITCH",
    "if false; then\n  echo 1 > SWITCH\nfi",
    "MODE=host\ncase $MODE in\nhost) true;;\n*) echo 1 > SWITCH;;\nesac",
    'NAT=""\nif [ "$NAT" = yes ]; then echo 1 > SWITCH; fi',
)
OPEN = (
    '. /srv/fw.conf\nif [ "$FORWARD" = "yes" ]; then\n  echo 1 > SWITCH\nfi',
    "FORWARD=no\n. /srv/fw.conf\n[ $FORWARD = yes ] && echo 1 > SWITCH",
    "[ $ENABLED = yes ] || exit 0\necho 1 > SWITCH",
    "case $FORWARD in yes) echo 1 > SWITCH;; esac",
    "while read k v; do sysctl -w $k=$v; done < /etc/router.list",
    "echo 1 > /proc/sys/net/ipv4/$key",
    "sysctl -w net.ipv4.{ip_forward,conf.all.forwarding}=1",
    "python -c \"open('SWITCH','w').write('1')\"",
    "run-parts /etc/boot.d",
    "cat > /etc/sysctl.d/9.conf <<END\nnet.ipv4.ip_forward=1\nEND",
)


@pytest.mark.parametrize("script", ON, ids=range(len(ON)))
def test_a_script_switches_it_on_by_whatever_way_it_goes(script: str) -> None:
    more = {"/etc/sysctl.d/x": "net.ipv4.ip_forward=1\n", "/etc/rc.local.d/fw": f"echo 1 > {SWITCH}\n"}
    assert said(script.replace("SWITCH", SWITCH), **more, **{"/etc/debian_version": "7.1\n"}) is True


@pytest.mark.parametrize("script", OFF, ids=range(len(OFF)))
def test_what_its_own_settings_rule_out_is_not_run(script: str) -> None:
    assert said(script.replace("SWITCH", SWITCH)) is False


@pytest.mark.parametrize("script", OPEN, ids=range(len(OPEN)))
def test_what_another_file_decides_is_not_known(script: str) -> None:
    assert said(script.replace("SWITCH", SWITCH)) is None


def test_settings_of_a_file_that_was_read_decide_a_condition() -> None:
    script = f". /etc/rc.local.d/settings\nif [ $FORWARD = yes ]; then echo 1 > {SWITCH}; fi"
    assert said(script, **{"/etc/rc.local.d/settings": "FORWARD=yes\n"}) is True
    assert said(script, **{"/etc/rc.local.d/settings": "FORWARD=no\n"}) is False
