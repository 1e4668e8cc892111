"""How large each kind of file may be to be read: what is larger was written by nobody of us, and is not read through.

In bytes, far above what honest ones have. A record may come from anybody: before its signature is known to be good, and where
there is none, a file in it may be a hole of terabytes, or lists in lists that take twenty times their size in memory.
"""

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

SIGNATURE = 64 * KIB  # one by RSA has some two thousand
STATEMENT = MIB  # what a person signs: an approval with its page, an acknowledgement
INFO = MIB  # bag-info.txt
TOKEN = MIB  # of a time stamp service
SIGNERS = MIB  # a list of allowed signers
PARAMETERS = 128 * KIB  # site.yml; a reader of YAML in Python takes a second for a hundred of them
BRACKETS = 50  # of one line of it that open: the same reader takes hours for a line of nothing else
MANIFEST = 16 * MIB  # a list of files with their hashes; a hundred bytes a file
LEFT_OUT = 16 * MIB  # left-out.tsv, likewise
REGISTER = 16 * MIB  # 250 bytes a record
RESULT = 64 * MIB  # what a step writes as JSON: plan.json, deployment.json
JOURNAL = 64 * MIB
NOTEBOOK = 64 * MIB
SEALED = GIB  # any other file in a record: hashed, never read as a whole
