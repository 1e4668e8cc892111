r"""Secrets of a guest: found in its files by their names and forms, and replaced before anything is kept or shown.

HIKKOSHI-SECRET-0001 and so on stand in their places: one word to whoever changes the file, and no trace of the value, not even
a hash, since a short password is soon guessed. The same value has the same number. Whoever has the file itself, as the worker
that changes a guest's disk, puts the values back.

The worker runs in the system's own Python, of 3.6 as well, and loads this file by itself: nothing but the standard library here.
Files are hostile: every repetition that could be tried again and again has a limit.

Of what programs print only the usual forms of credentials are known.

Sources: GNU GRUB Manual (password, password_pbkdf2), mount.cifs(8), nm-settings-keyfile(5), netplan(5), interfaces(5),
dracut.cmdline(7), systemd.netdev(5), xl.cfg(5), crypt(5).
"""

import re

MOST = 9999  # different secrets of a guest
TOKEN = re.compile(rb"HIKKOSHI-SECRET-\d{4}")
LIST = "KEY=VALUE,KEY=VALUE"  # in place of a path: entries as fstab and xl have them
UNKNOWN = "a line that nobody could read"  # in place of a path: where a secret ends is not known
OUTPUT = "what a program printed"  # in place of a path: lines of all kinds, commands with their arguments among them
HIDDEN = "‹not kept›"  # where nobody has to put anything back

_NAMED = rb"""(?<![\w.-])(?:[\w.-]{0,100}(?:passw(?:or)?d|passphrase|secret|psk|vncpass|spicepass|set_credential
    |(?:private|preshared|wireless|wep)[_-]?key|mka-ca[kn]|password-raw)[\w.-]{0,100}|(?:[\w.-]{0,100}\.)?(?:pass|pin|pw|rootpw))"""
_NAMED = re.sub(rb"\s+", b"", _NAMED)
_DOUBLE, _SINGLE = rb"\"(?:\\[^\n]|[^\"\\\n])*\"", rb"'[^'\n]*'"
_QUOTED = _DOUBLE + rb"|" + _SINGLE
# a quote that closes nothing belongs to the word, as in CAN'T
_WORD = rb"(?:" + _QUOTED + rb"|\\[^\r\n]|[^\s\"'\\,}\]]|[\"'](?=[^\s,;)}\]]))+"
_ARGUMENT = _WORD.replace(rb"\\,}\]]|", rb"\\]|")  # of a kernel: a comma is part of it
_MORE = rb"(?:" + _QUOTED + rb"|\\[^\n]|[^\s\"'\\])+"  # of a word, behind a quote that has ended
_LINE = rb"\S[^\r\n]*"
_ON = rb"(?<=[^\\]\\)\r?\n"  # the end of a line that goes on in the next one
_WORD_ON = rb"\\\r?\n"  # the same in the middle of a word
_OVER_LINES = _LINE + rb"(?:" + _ON + rb"[^\r\n]+){0,20}"
_AT_START = rb"^[ \t#;-]{0,200}"
# of GRUB: password [--md5] VALUE, password USER VALUE, password_pbkdf2 USER VALUE
_PASSWORD = _AT_START + rb"password(?:_pbkdf2)?(?:[ \t]{0,200}=[ \t]{0,200}|[ \t]{1,200})(?:--\w{1,20}[ \t]{1,200})?"


def _rules(*patterns: bytes) -> "list[re.Pattern[bytes]]":
    return [re.compile(p, re.I | re.M) for p in patterns]


_EVERYWHERE = _rules(
    _PASSWORD + rb"(?P<s>" + _LINE + rb")",
    rb"(?P<s>grub\.pbkdf2\.[\w.]+)",
    rb"(?P<s>\$(?:1|2[abxy]?|5|6|7|y|gy|md5|sha1|argon2\w{1,2})\$[^\s:,;\"']{6,})",
    # what stands before the host: a scheme with or without //, a share, FUSE's program#user:password@host
    rb"(?<![\w.+-])[a-z][a-z0-9+.-]{0,20}://[^\s/\"'@:]{0,200}:(?P<s>[^\s\"']{0,500})@",
    rb"(?<![\w.])(?:iscsi|cifs|smb|nbd|nfs4?):(?P<s>[^\s\"'@:/]{0,200}:[^\s\"'/]{1,500})@",
    rb"(?:(?<=[\s=\"'])|^)//[^\s/:@,]{0,200}:(?P<s>[^\s]{1,500})@",
    rb"\w#[^\s/:@]{0,200}:(?P<s>[^\s]{1,500})@",
    rb"(?<![\w./:@-])[\w.-]{1,64}:(?P<s>[^\s/\"'@]{1,200})@[\w\[]",
    rb"(?<![\w.-])(?:--(?:[\w-]{0,50}pass[\w-]{0,50}|secret)|-(?:\w{0,20}passw(?:or)?d|pass|passphrase))"
    + rb"(?:[ \t]{1,200}|=)(?P<s>"
    + _ARGUMENT
    + rb")",
    rb"\"[^\"\n]{0,100}passw[^\"\n]{0,100}\"[ \t]{1,200}(?P<s>\"[^\"\n]+\")",
    rb"\biwconfig\b[^\n]{0,300}?\bkey[ \t]{1,200}(?P<s>\S+)",
    rb"\bsopass[ \t]{1,200}(?P<s>\S+)",
)
_KEY = rb"(?:export[ \t]{1,200})?[\"']?" + _NAMED + rb"[\"']?[ \t]{0,200}[=:][ \t]{0,200}"
_SETTINGS = _rules(_AT_START + _KEY + rb"(?P<s>" + _LINE + rb")")  # a line is a setting: KEY=VALUE, KEY: VALUE
_GOES_ON = _rules(_AT_START + _KEY + rb"(?P<s>" + _OVER_LINES + rb")")
_QUOTES = _rules(  # as a shell and YAML have them: over several lines
    _NAMED + rb"[\"']?[ \t]{0,200}[=:][ \t]{0,200}(?P<s>\"(?:\\[\s\S]|[^\"\\]){1,2000}\"|'[^']{1,2000}')"
)
_WORDS = _rules(_NAMED + rb"[\"']?(?:=|:[ \t]{1,200})(?P<s>" + _WORD + rb"(?:" + _WORD_ON + _WORD + rb"){0,20})")
_ARGUMENTS = _rules(  # quotes may stand around all of it
    rb"\\\"" + _NAMED + rb"=(?P<s>[^\"\\\n]+)",
    rb"(?<=[ \t])\"" + _NAMED + rb"=(?P<s>(?:\\[^\n]|[^\"\\\n])*(?:\"" + _MORE + rb")?)",
    rb"(?<=[ \t])'" + _NAMED + rb"=(?P<s>[^'\n]*(?:'" + _MORE + rb")?)",
    _NAMED + rb"=(?P<s>\\\"[^\"\\\n]+\\\"|" + _ARGUMENT + rb"(?:" + _WORD_ON + _ARGUMENT + rb"){0,20})",
)
_YAML = _rules(
    rb"[{,][ \t]{0,200}[\"']?" + _NAMED + rb"[\"']?:\s{1,200}(?P<s>" + _WORD + rb")",
    rb"^[ \t]{0,200}\?[ \t]{1,200}[\"']?" + _NAMED + rb"[\"']?[ \t]{0,200}\r?\n[ \t]{0,200}:[ \t]{1,200}(?P<s>" + _LINE + rb")",
)
_YAML_KEY = re.compile(rb"(?P<column>[ \t]*(?:-[ \t]+){0,20})(?:\?[ \t]+)?[\"']?" + _NAMED + rb"[\"']?[ \t]*:(?:\s|$)", re.I)
_COMMENT = re.compile(rb"#[^\r\n]*")
_SAID = _rules(_NAMED + rb"[\"']?[ \t]{0,200}:[ \t]{0,200}(?P<s>" + _LINE + rb")")  # in a comment: to its end
_REST = _rules(_NAMED + rb"[\"']?[ \t]{0,200}[=:][ \t]{0,200}(?P<s>" + _LINE + rb")")
_MOUNTS = _rules(_NAMED + rb"=(?P<s>[^\s,]+)", rb"\buser(?:name)?=[^\s,%]{0,200}%(?P<s>[^\s,]+)")
_DRIVES = _rules(  # of a disk, as QEMU takes it
    rb"(?<![\w.-])(?-i:key|chap|cookie|chap[-_](?:auth|secret|pass\w{0,8}))=(?P<s>[^\s,:;\"'}]+(?::(?![\w-]{1,50}=)[^\s,:;\"'}]+)?)",
    rb"//[^\s/@,%]{0,200}%(?P<s>[^\s/@]{1,500})@",
    rb"[\"']" + _NAMED + rb"[\"']\s{0,20}:\s{0,20}(?P<s>" + _QUOTED + rb")",
    rb"[\"'](?:[\w.-]{0,100}\.)?(?:key|chap|cookie)[\"']\s{0,20}:\s{0,20}(?P<s>" + _QUOTED + rb")",
)
_IFUPDOWN = _rules(_AT_START + rb"[\w-]{0,100}(?:psk|pass|secret|key|pin)[\w-]{0,100}[ \t]{1,200}(?P<s>" + _OVER_LINES + rb")")
_IFCFG = _rules(_AT_START + rb"KEY\d?(?:_\w{1,50})?=(?P<s>\S[^\r\n]*)")
_GRUB = _rules(_PASSWORD + rb"(?P<s>" + _OVER_LINES + rb")")
_NETDEV = _rules(_AT_START + rb"Key[ \t]{0,200}=[ \t]{0,200}(?P<s>" + _OVER_LINES + rb")")  # of MACsec
_SECTION = re.compile(rb"^\[([^\]\n]*)\]", re.M)
_VALUE = re.compile(rb"^[^=\[\n]{1,500}=[ \t]{0,200}(?P<s>\S[^\r\n]*)", re.M)
_TOKENS = (
    rb"(?<![\w.-])[\w.-]{0,100}(?:token|api[_-]?key|access[_-]?key|activation[_-]?key|(?:reg|registration)[_-]?(?:code|key)"
    rb"|credentials?)[\w.-]{0,100}"
)
_PRINTED = _rules(
    # keys, whole or cut off at either end
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----(?P<s>(?:[^-]|-(?!----)){1,20000})",
    rb"\A(?P<s>[A-Za-z0-9+/=\s]{1,20000})-----END [A-Z0-9 ]{0,40}PRIVATE KEY",
    rb"\b(?:(?:proxy-)?authorization|cookie)[\"']?[ \t]{0,20}[:=][ \t]{0,20}[\"']?(?P<s>[^\s\"'][^\"'\r\n]{0,4000})",
    rb"\bbearer[ \t]{1,20}(?P<s>[\w.~+/=-]{8,4000})",
    rb"(?<!\w)(?P<s>eyJ[\w-]{10,4000}\.[\w-]{10,4000}\.[\w-]{0,4000})",  # of RFC 7519
    # USER:PASSWORD behind -u, as curl takes it
    rb"(?<!\S)(?:-u[ \t]{0,20}|--(?:proxy-)?user(?:[ \t]{1,20}|=))(?:\"[^\s:\"]{1,200}:(?P<s>[^\"\r\n]{1,500})\")",
    rb"(?<!\S)(?:-u[ \t]{0,20}|--(?:proxy-)?user(?:[ \t]{1,20}|=))(?:'[^\s:']{1,200}:(?P<s>[^'\r\n]{1,500})')",
    rb"(?<!\S)(?:-u[ \t]{0,20}|--(?:proxy-)?user(?:[ \t]{1,20}|=))[^\s:\"']{1,200}:(?P<s>[^\s]{1,500})",
    rb"\bsshpass[ \t]{1,20}-p[ \t]{0,20}(?P<s>" + _ARGUMENT + rb")",
    rb"\b(?:mysql|mariadb)\w{0,20}\b[^\r\n]{0,300}?[ \t]-p(?P<s>" + _ARGUMENT + rb")",
    _TOKENS + rb"[\"']?(?:[ \t]{0,20}[=:][ \t]{0,20})(?P<s>" + _WORD + rb")",
    rb"(?<!\S)--(?:[\w-]{0,50}(?:token|key|secret|reg-?code))[ \t]{1,20}(?P<s>" + _ARGUMENT + rb")",
)
_KINDS = (  # (parts of paths, rules for these files); the first that fits
    ((UNKNOWN,), [*_REST, *_DRIVES]),
    ((OUTPUT,), [*_PRINTED, *_QUOTES, *_GOES_ON, *_WORDS]),
    ((LIST,), [*_MOUNTS, *_DRIVES]),
    (("/etc/fstab",), _MOUNTS),
    (("/boot/", "/etc/kernel/", "/proc/cmdline"), [*_ARGUMENTS, *_GRUB]),
    (("/etc/default/grub", "/etc/dracut.conf.d/"), [*_QUOTES, *_GOES_ON, *_ARGUMENTS]),
    ((".yaml", ".yml"), [*_YAML, *_QUOTES, *_SETTINGS, *_WORDS]),
    (("/NetworkManager/",), [*_SETTINGS, *_WORDS]),  # a password may end with a backslash there: no line goes on
    (("/etc/network/",), [*_IFUPDOWN, *_GOES_ON, *_WORDS]),
    (("/systemd/network/",), [*_NETDEV, *_GOES_ON, *_WORDS]),
    (("/network-scripts/",), [*_QUOTES, *_IFCFG, *_GOES_ON, *_WORDS]),
    (("/etc/sysconfig/", "/etc/rc.d/", "/etc/initramfs-tools/"), [*_QUOTES, *_GOES_ON, *_WORDS]),
    (("",), [*_GOES_ON, *_WORDS]),
)
_PIECE = re.compile(rb"[^\s\\](?:[^\r\n]*[^\s\\])?")  # of a value, in one line; what makes lines go on stays
_SIGNATURE = b"# GRUB Environment Block\n"


class Redactor:
    """One guest's secrets while its files are read: {value: what stands in its place}."""

    OUTPUT = OUTPUT  # for whoever has this class alone

    def __init__(self) -> None:
        self.tokens: dict[bytes, bytes] = {}
        self._values: dict[bytes, bytes] = {}  # the same the other way round
        self._blocks: dict[int, int] = {}  # lengths of environment blocks: {without secrets: as it was}

    def redact(self, path: str, content: bytes) -> bytes:
        """A file's bytes without its secrets. The same files in the same order have the same words in their places."""
        new = TOKEN.sub(lambda m: self._token(m.group()), content)  # a guest may have such words of its own
        if path.endswith((".yaml", ".yml")):
            new = self._blocks_of_yaml(new)
        rules = _of(path)
        said = _REST[0] if path == "/etc/fstab" else _SAID[0]
        if rules:
            new = _COMMENT.sub(lambda m: said.sub(self._replaced, m.group()), new)
        for rule in rules:
            new = rule.sub(self._replaced, new)
        if "/NetworkManager/" in path:
            new = self._sections(new)
        hidden = _padded(content, new, len(content))
        if content.startswith(_SIGNATURE):
            self._blocks[len(hidden)] = len(content)
        return hidden

    def restore(self, content: bytes) -> bytes:
        """The bytes with all secrets where they belong."""
        new = TOKEN.sub(lambda m: self._values.get(m.group(), m.group()), content)
        size = self._blocks.get(len(content), max(self._blocks.values(), default=len(content)))
        return _padded(content, new, size)

    def _replaced(self, match: "re.Match[bytes]") -> bytes:
        start, whole = match.start(), match.group()
        begin, end = match.start("s") - start, match.end("s") - start
        found = whole[begin:end]
        if found[:1] in (b'"', b"'") and found[-1:] == found[:1] and len(found) > 1:
            begin, end = begin + 1, end - 1  # the quotes stay
        value = whole[begin:end]
        if not value.strip() or TOKEN.fullmatch(value):
            return whole
        if b"\n" in value:
            return whole[:begin] + self._in_every_line(value) + whole[end:]
        return whole[:begin] + self._hidden(value) + whole[end:]

    def _in_every_line(self, value: bytes) -> bytes:
        return _PIECE.sub(lambda m: self._hidden(m.group()), value)

    def _hidden(self, value: bytes) -> bytes:
        """The word for a value; one rule may find what holds another's."""
        return value if TOKEN.fullmatch(value) else self._token(TOKEN.sub(lambda m: self._values[m.group()], value))

    def _blocks_of_yaml(self, content: bytes) -> bytes:
        """What is written below a secret's name: every line that begins further to the right."""
        lines, column = [], -1
        for line in content.splitlines(keepends=True):
            if column >= 0 and (not line.strip() or len(line) - len(line.lstrip(b" \t")) > column):
                lines.append(self._in_every_line(line))
                continue
            found = _YAML_KEY.match(line)
            column = len(found.group("column")) if found else -1
            lines.append(line)
        return b"".join(lines)

    def _token(self, value: bytes) -> bytes:
        if value not in self.tokens:
            if len(self.tokens) == MOST:
                raise TooManyError(MOST)
            token = b"HIKKOSHI-SECRET-%04d" % (len(self.tokens) + 1)
            self.tokens[value], self._values[token] = token, value
        return self.tokens[value]

    def _sections(self, content: bytes) -> bytes:
        """Keyfiles name secrets of a VPN's plugin as that likes; their sections are called after them."""
        parts, at = [], 0
        for match in [*_SECTION.finditer(content)]:
            parts.append(content[at : match.start()])
            at = match.start()
        parts.append(content[at:])
        secret = re.compile(rb"\[[^\]\n]*secrets?\]", re.I)
        return b"".join(_VALUE.sub(self._replaced, p) if secret.match(p) else p for p in parts)


class TooManyError(ValueError):
    """More secrets than a guest can have."""


def shown(text: str, path: str = "") -> str:
    """A text for people, with a sign in the place of every secret; `path` says what kind of file it is of."""
    redactor = Redactor()
    content = redactor.redact(path, text.encode("utf-8", "surrogatepass"))
    return TOKEN.sub(HIDDEN.encode(), content).decode("utf-8", "surrogatepass")


def _of(path: str) -> "list[re.Pattern[bytes]]":
    """The rules for a file, by its path in the guest."""
    if path.startswith("/boot/config-"):
        return []  # how a kernel was built: all of it is known
    return next([*rules, *_EVERYWHERE] for places, rules in _KINDS if any(place in path for place in places))


def _padded(content: bytes, new: bytes, size: int) -> bytes:
    """GRUB's environment block has one length: what was put in or taken out is made up for by its padding."""
    if not content.startswith(_SIGNATURE) or new == content:
        return new
    body = new.rstrip(b"#")
    return body + b"#" * (size - len(body))
