#include "config/testing.h"

/* clang-format off */
/* forgotten commas, braces and quotes */
static const struct bad_row syntax_rows[] = {
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any\n"
     "  deliver = maildir \"/v/%d/%u\",\n"
     "}",
     "waxwing.lua:4: a comma seems to be missing at the end of this line (before 'deliver' on line 5)\n"},
    {TEST_HEAD "domain \"a.example\" { users = any deliver = maildir \"/v/%d/%u\" }",
     "waxwing.lua:3: a comma seems to be missing before 'deliver'\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = { \"joe\"\n"
     "  },  -- a comment, \"with\" things\n"
     "  deliver = lmtp \"h\" -- no comma here\n"
     "  , catchall = \"joe\"\n"
     "  same_as = \"x\"\n"
     "}",
     "waxwing.lua:7: a comma seems to be missing at the end of this line (before 'same_as' on line 8)\n"},
    {TEST_HEAD "relay_from { \"127.0.0.0/8\" \"::1\" }",
     "waxwing.lua:3: a comma seems to be missing before \"::1\"\n"},
    {TEST_HEAD "relay_from {\n"
     "  \"127.0.0.0/8\",\n"
     "  \"10.0.0.0/8\"\n"
     "\n"
     "  \"::1\",\n"
     "}",
     "waxwing.lua:5: a comma seems to be missing at the end of this line (before \"::1\" on line 7)\n"},
    {TEST_HEAD "listen { port = 24 lmtp = true }",
     "waxwing.lua:3: a comma seems to be missing before 'lmtp'\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = { \"a\", \"b\" \"c\" },\n"
     "  deliver = lmtp \"h\" }",
     "waxwing.lua:4: a comma seems to be missing before \"c\"\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = [[x\n"
     "]]\n"
     "  deliver = lmtp \"h\" }",
     "waxwing.lua:4: a comma seems to be missing at the end of this line (before 'deliver' on line 6)\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any,\n"
     "  deliver = maildir \"/v/%d/%u\"\n"
     "\n"
     "listen { port = 25 }",
     "waxwing.lua:3: the '{' on this line is never closed: a '}' seems to be missing before 'listen' on "
     "line 7\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any,\n"
     "  deliver = maildir \"/v/%d/%u\"\n",
     "waxwing.lua:3: the '{' on this line is never closed\n"},
    {TEST_HEAD "listen { port = 25 } }",
     "waxwing.lua:3: this '}' closes nothing\n"},
    {TEST_HEAD "listen { port = 25 ))",
     "waxwing.lua:3: ')' does not belong into the { } that begins on line 3\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users: any }",
     "waxwing.lua:4: a key and its value are joined by '=' and not by ':'\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  \"users\" = any }",
     "waxwing.lua:4: a key stands without quotes: key = value\n"},
    {TEST_HEAD "listen { port = 25, = 3 }",
     "waxwing.lua:3: this is no Lua: unexpected symbol near '='\n"},
    {"hostname mail.example.org",
     "waxwing.lua:1: what follows 'hostname' stands in quotes or in { }\n"},
    {"hostname \"mail.example.org",
     "waxwing.lua:1: a text has no closing quote on this line\n"},
    {"smtp_port 25",
     "waxwing.lua:1: what follows 'smtp_port' stands in quotes or in { }\n"},
    {TEST_HEAD "# a comment",
     "waxwing.lua:3: a comment begins with -- and not with #\n"},
    {TEST_HEAD "// a comment",
     "waxwing.lua:3: a comment begins with -- and not with //\n"},
    {TEST_HEAD "listen { port = 25, , }",
     "waxwing.lua:3: one comma too many\n"},
    {TEST_HEAD "listen { port = }",
     "waxwing.lua:3: a value is missing behind '='\n"},
    {TEST_HEAD "listen { address = 127.0.0.1 }",
     "waxwing.lua:3: what is no plain number stands in quotes (near '127.0.0.1')\n"},
    {TEST_HEAD "x = = 3",
     "waxwing.lua:3: this is no Lua: unexpected symbol near '='\n"},
    {TEST_HEAD "goto nowhere",
     "waxwing.lua:3: this is no Lua: no visible label 'nowhere' for <goto> at line 3\n"},
    {"\x1b" "Lua",
     "waxwing.lua: this is no text of Lua\n"},
};

/* words */
static const struct bad_row words_rows[] = {
    {TEST_HEAD "domian \"x\" {}",
     "waxwing.lua:3: unknown word 'domian': did you mean 'domain'?\n"},
    {TEST_HEAD "hostnme \"x\"",
     "waxwing.lua:3: unknown word 'hostnme': did you mean 'hostname'?\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maldir \"/v/%d/%u\" }",
     "waxwing.lua:3: unknown word 'maldir': did you mean 'maildir'?\n"},
    {TEST_HEAD "domain \"a.example\" { users = anyy, deliver = maildir \"/v/%d/%u\" }",
     "waxwing.lua:3: unknown word 'anyy': did you mean 'any'?\n"},
    {TEST_HEAD "zebra \"x\"",
     "waxwing.lua:3: unknown word 'zebra' (text stands in quotes: \"zebra\")\n"},
    {TEST_HEAD "listen { port = foo }",
     "waxwing.lua:3: unknown word 'foo' (text stands in quotes: \"foo\")\n"},
    {TEST_HEAD "domain \"a.example\" { users = { joe }, deliver = lmtp \"h\" }",
     "waxwing.lua:3: unknown word 'joe' (text stands in quotes: \"joe\")\n"},
    {TEST_HEAD "spool \"/x\"\n"
     "spool = \"/y\"",
     "waxwing.lua:4: 'spool' is no variable: write spool \"FOLDER\" without '='\n"},
    {"hostname = \"mail.example.org\"",
     "waxwing.lua:1: 'hostname' is no variable: write hostname \"NAME\" without '='\n"},
    {TEST_HEAD "any = 3",
     "waxwing.lua:3: 'any' can't be the name of a variable: it means something else\n"},
    {TEST_HEAD "tls = {}",
     "waxwing.lua:3: 'tls' is no variable: write tls { ... } without '='\n"},
    {TEST_HEAD "dkim = 1\n"
     "dkim \"x\"\n"
     "on.rcpt(function(s, r) return reject(550, \"5.7.1\", \"no\") end)",
     "waxwing.lua:3: 'dkim' is not in this version of Waxwing\n"
     "waxwing.lua:4: 'dkim' is not in this version of Waxwing\n"
     "waxwing.lua:5: 'on' is not in this version of Waxwing\n"},
    {TEST_HEAD "listen { port = 465, auth = true }",
     "waxwing.lua:3: 'auth' in listen must be one of off | may | must, in quotes\n"},
    {TEST_HEAD "domain \"b.example\" { quota = \"1G\", srs = true }",
     "waxwing.lua:3: 'quota' in domain is not in this version of Waxwing\n"
     "waxwing.lua:3: 'srs' in domain is not in this version of Waxwing\n"},
    {TEST_HEAD "io.open(\"/etc/passwd\")",
     "waxwing.lua:3: 'io' is not available in a configuration\n"},
    {TEST_HEAD "os.exit(1)",
     "waxwing.lua:3: 'os' is not available in a configuration\n"},
    {TEST_HEAD "load(\"x = 1\")()",
     "waxwing.lua:3: 'load' is not available in a configuration\n"},
    {TEST_HEAD "require \"x\"",
     "waxwing.lua:3: 'require' is not available in a configuration\n"},
    {TEST_HEAD "print(1)",
     "waxwing.lua:3: 'print' is not available in a configuration\n"},
    {TEST_HEAD "string.gsub(\"a\", \"a\", \"b\")",
     "waxwing.lua:3: 'string.gsub' is not available in a configuration\n"},
    {TEST_HEAD "local s = \"x\"\n"
     "s = s:find(\"x\")",
     "waxwing.lua:4: 'string.find' is not available in a configuration\n"},
    {TEST_HEAD "math.random()",
     "waxwing.lua:3: 'math.random' is not available in a configuration\n"},
    {TEST_HEAD "setmetatable({}, {})",
     "waxwing.lua:3: 'setmetatable' is not available in a configuration\n"},
    {TEST_HEAD "_G.x = 1",
     "waxwing.lua:3: '_G' is not available in a configuration\n"},
};

/* budgets */
static const struct bad_row budgets_rows[] = {
    {TEST_HEAD "while truAe do x = 1 end",
     "waxwing.lua:3: unknown word 'truAe' (text stands in quotes: \"truAe\")\n"
     "waxwing.lua:3: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "while true do io.open() end",
     "waxwing.lua:3: 'io' is not available in a configuration\n"
     "waxwing.lua:3: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "while true do resolver = 1 end",
     "waxwing.lua:3: 'resolver' is no variable: write resolver \"recursive\" | \"system\" | { \"ADDRESS\", ... } "
     "without '='\n"
     "waxwing.lua:3: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "while true do listen { prot = 1 } end",
     "waxwing.lua:3: unknown key 'prot' in listen: did you mean 'port'?\n"
     "waxwing.lua:3: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "local a, b = string.rep(\"x\", 60000), string.rep(\"x\", 60000)\n"
     "while true do x = a == b end",
     "waxwing.lua:4: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "local a = string.rep(\"x\", 60000)\n"
     "while true do x = a .. \"y\" end",
     "waxwing.lua: this needs too much memory\n"},
    {TEST_HEAD "while true do x = passwd \"org.users\" end",
     "waxwing.lua:3: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "while true do end",
     "waxwing.lua:3: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "local t = {} repeat t[1] = pairs(t) until false",
     "waxwing.lua:3: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "local function f() return f() + 1 end\n"
     "f()",
     "waxwing.lua:3: stack overflow\n"},
    {TEST_HEAD "local s = \"x\"\n"
     "while true do s = s .. s end",
     "waxwing.lua: this needs too much memory\n"},
    {TEST_HEAD "local t = {}\n"
     "while true do t[#t + 1] = {} end",
     "waxwing.lua: this needs too much memory\n"},
    {TEST_HEAD "x = string.rep(\"x\", 1e9)",
     "waxwing.lua:3: string.rep would make more than 64K octets\n"},
    {TEST_HEAD "x = (\"xy\"):rep(1024, \"-\"):rep(1000)",
     "waxwing.lua:3: string.rep would make more than 64K octets\n"},
    {TEST_HEAD "local s = string.rep(\"x\", 60000)\n"
     "while true do s:upper() end",
     "waxwing.lua:4: this runs too long: is it a loop without an end?\n"},
    {TEST_HEAD "local t = {}\n"
     "for i = 1, 60000 do t[i] = \"x\" end\n"
     "for i = 1, 1e6 do table.concat(t) end",
     "waxwing.lua:5: this runs too long: is it a loop without an end?\n"},
};

/* errors of Lua */
static const struct bad_row lua_errors_rows[] = {
    {TEST_HEAD "error(\"by hand\")",
     "waxwing.lua:3: by hand\n"},
    {TEST_HEAD "\n"
     "error({})",
     "waxwing.lua:4: error() was called with something that is no text\n"},
    {TEST_HEAD "local x = nil\n"
     "x.y = 1",
     "waxwing.lua:4: attempt to index a nil value (local 'x')\n"},
    {TEST_HEAD "local x = 1\n"
     "x()",
     "waxwing.lua:4: attempt to call a number value (local 'x')\n"},
    {TEST_HEAD "assert(false, \"asserted\")",
     "waxwing.lua:3: asserted\n"},
    {TEST_HEAD "string.rep()",
     "waxwing.lua:3: bad argument #1 to 'rep' (string expected, got no value)\n"},
    {TEST_HEAD "x = 1 + {}",
     "waxwing.lua:3: attempt to perform arithmetic on a table value\n"},
    {TEST_HEAD "for k in pairs({ c = 1, a = 2, b = 3, [7] = 1, [2.5] = 1 }) do error(k .. \"\") end",
     "waxwing.lua:3: 2.5\n"},
    {TEST_HEAD "for k in pairs({ [true] = 1 }) do end",
     "waxwing.lua:3: pairs() takes tables whose keys are numbers or text\n"},
};

/* include and files */
static const struct bad_row files_rows[] = {
    {"include \"../x.lua\"",
     "waxwing.lua:1: include takes files in the folder of the configuration and below it\n"},
    {"include \"/etc/x.lua\"",
     "waxwing.lua:1: include takes files in the folder of the configuration and below it\n"},
    {TEST_HEAD "include \"nosuch.lua\"",
     "waxwing.lua:3: can't read the file /etc/waxwing/nosuch.lua: not found\n"},
    {TEST_HEAD "include \"broken.lua\"",
     "broken.lua:1: a comma seems to be missing at the end of this line (before 'lmtp' on line 2)\n"},
    {"include \"raise.lua\"",
     "raise.lua:3: from within\n"},
    {"include \"loop.lua\"",
     "loop.lua:1: too many files are included: does one include itself?\n"},
    {TEST_HEAD "include(3)",
     "waxwing.lua:3: 'include' must be text in quotes and not a number\n"},
    {TEST_HEAD "domain \"a.example\" { users = passwd \"nosuch\", deliver = lmtp \"h\" }",
     "waxwing.lua:3: can't read the file /etc/waxwing/nosuch: not found\n"},
    {TEST_HEAD "domain \"a.example\" { users = passwd \"bad.users\", deliver = lmtp \"h\" }",
     "bad.users:5: user \"\" is empty\n"
     "bad.users:6: user \"bad name\" has a character that no user name may have\n"
     "bad.users:7: user \"joe/x y\" has a character that no user name may have\n"
     "bad.users:8: user \"/x\" has a character that no user name may have\n"},
    {TEST_HEAD "domain \"a.example\" { users = file \"secret.users\", deliver = lmtp \"h\" }",
     "waxwing.lua:3: can't read the file /etc/waxwing/secret.users: permission denied\n"},
    {TEST_HEAD "resolver { \"recursive\", root_hints = \"nosuch\" }",
     "waxwing.lua:3: can't read the file /etc/waxwing/nosuch: not found\n"},
};

/* simple facts */
static const struct bad_row facts_rows[] = {
    {"",
     "waxwing.lua: hostname is missing: hostname \"mail.example.org\"\n"},
    {"hostname \"mail\"",
     "waxwing.lua:1: hostname: \"mail\" must be a full name with a dot in it, such as \"mail.example.org\"\n"
     ""},
    {"hostname \"mail.example.org.\"",
     "waxwing.lua:1: hostname: \"mail.example.org.\" is no host name (letters, digits and hyphens between "
     "dots)\n"},
    {"hostname \"192.0.2.1\"",
     "waxwing.lua:1: hostname: \"192.0.2.1\" must be a name and not an address\n"},
    {"hostname \"a_b..c\"",
     "waxwing.lua:1: hostname: \"a_b..c\" is no host name (letters, digits and hyphens between dots)\n"},
    {"hostname \"\"",
     "waxwing.lua:1: 'hostname' is empty\n"},
    {"hostname \"a\\nb.c\"",
     "waxwing.lua:1: 'hostname' holds a control character\n"},
    {"hostname { \"x\" }",
     "waxwing.lua:1: 'hostname' must be text in quotes and not a { }\n"},
    {"hostname(25)",
     "waxwing.lua:1: 'hostname' must be text in quotes and not a number\n"},
    {"hostname(nil)",
     "waxwing.lua:1: 'hostname' is missing: text in quotes\n"},
    {"hostname \"mail.example.org\"\n"
     "\n"
     "hostname \"b.example.org\"",
     "waxwing.lua:3: 'hostname' is given twice (the first is in waxwing.lua, line 1)\n"},
    {TEST_HEAD "control \"/run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
     "waxwing.lua:3: control: the path of a socket has at most 107 octets\n"},
    {"hostname \"mail.example.org\"\n"
     "postmaster \"joe\"",
     "waxwing.lua:2: postmaster: \"joe\" must be a full address, such as \"admin@example.org\"\n"},
    {"hostname \"mail.example.org\"\n"
     "postmaster \"joe@[192.0.2.1]\"",
     "waxwing.lua:2: postmaster: \"joe@[192.0.2.1]\" must have a domain name behind the '@'\n"},
    {"hostname \"mail.example.org\"\n"
     "postmaster \"joe@a b\"",
     "waxwing.lua:2: postmaster: \"joe@a b\" is no mail address\n"},
    {"hostname(\"a.example\", \"b.example\")",
     "waxwing.lua:1: 'hostname' takes one value\n"},
    {TEST_HEAD "smtp_port \"0\"",
     "waxwing.lua:3: 'smtp_port' must be a whole number from 1 to 65535\n"},
    {TEST_HEAD "smtp_port(true)",
     "waxwing.lua:3: 'smtp_port' must be a whole number from 1 to 65535\n"},
    {TEST_HEAD "processes { smtpd = 2.5, relay = 33 }",
     "waxwing.lua:3: 'smtpd' in processes must be a whole number from 1 to 32\n"
     "waxwing.lua:3: 'relay' in processes must be a whole number from 1 to 32\n"},
    {TEST_HEAD "processes { smtpd = \"two\" }",
     "waxwing.lua:3: 'smtpd' in processes must be a whole number from 1 to 32\n"},
    {TEST_HEAD "limits { message_size = \"1K\", memory = -1 }",
     "waxwing.lua:3: 'message_size' in limits must be a size from 64K to 2G, such as \"50M\"\n"
     "waxwing.lua:3: 'memory' in limits must be a size from 16M to 1024G, such as \"256M\"\n"},
    {TEST_HEAD "limits { 5 }",
     "waxwing.lua:3: limits takes key = value: a value stands without its key\n"},
    {TEST_HEAD "limits(5)",
     "waxwing.lua:3: 'limits' is written limits { ... }\n"},
    {TEST_HEAD "limits {} limits {}",
     "waxwing.lua:3: 'limits' is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "retry { first = \"6x\" }",
     "waxwing.lua:3: 'first' in retry must be a time from 1s to 1d, such as \"5m\"\n"},
    {TEST_HEAD "retry { jitter = 60, give_up = \"31d\" }",
     "waxwing.lua:3: 'jitter' in retry must be a whole number from 0 to 50\n"
     "waxwing.lua:3: 'give_up' in retry must be a time from 1s to 30d, such as \"5d\"\n"},
    {TEST_HEAD "retry {\n"
     "  first = \"6h\",\n"
     "  longest = \"4h\",\n"
     "}",
     "waxwing.lua:3: retry: 'first' is longer than 'longest'\n"},
    {TEST_HEAD "retry { first = \"1h\", give_up = \"30m\" }",
     "waxwing.lua:3: retry: 'first' is longer than 'give_up': nothing would be tried again\n"},
    {TEST_HEAD "log { format = \"xml\" }",
     "waxwing.lua:3: 'format' in log must be one of text | json, in quotes\n"},
    {TEST_HEAD "log { json = true }",
     "waxwing.lua:3: unknown key 'json' in log (it takes format, level)\n"},
    {TEST_HEAD "log {\n"
     "  format = \"json\",\n"
     "  levle = \"info\",\n"
     "  zzz = 1,\n"
     "  aaa = 2,\n"
     "}",
     "waxwing.lua:5: unknown key 'levle' in log: did you mean 'level'?\n"
     "waxwing.lua:6: unknown key 'zzz' in log (it takes format, level)\n"
     "waxwing.lua:7: unknown key 'aaa' in log (it takes format, level)\n"},
    {TEST_HEAD "journal { path = 3, keep = \"1m\" }",
     "waxwing.lua:3: 'keep' in journal must be a time from 1h to 3650d, such as \"30d\"\n"
     "waxwing.lua:3: 'path' in journal must be text in quotes and not a number\n"},
};

#define LONG_BRIEF "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG LONG_BRIEF "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
/* listen, relay_from, route, resolver */
static const struct bad_row network_rows[] = {
    {TEST_HEAD "reports { delay_after = \"1h\",\n"
     "  verp = \"bounce\",\n"
     "  arf = \"fbl@a.example\", x = 1 }",
     "waxwing.lua:5: unknown key 'x' in reports (it takes success_to_strangers, delay_after, suppress, "
     "suppress_keep, verp, arf, tls, tls_organization, tls_contact, tls_every)\n"},
    {TEST_HEAD "listen { port = 70000 }",
     "waxwing.lua:3: 'port' in listen must be a whole number from 1 to 65535\n"},
    {TEST_HEAD "listen { port = 0 }",
     "waxwing.lua:3: 'port' in listen must be a whole number from 1 to 65535\n"},
    {TEST_HEAD "listen { port = \"abc\" }",
     "waxwing.lua:3: 'port' in listen must be a whole number from 1 to 65535\n"},
    {TEST_HEAD "listen { port = 24, lmtp = 1 }",
     "waxwing.lua:3: 'lmtp' in listen must be true or false and not a number\n"},
    {TEST_HEAD "listen { port = 25, lmtp = true }",
     "waxwing.lua:3: the port of LMTP must not be 25 (RFC 2033, section 5)\n"},
    {TEST_HEAD "listen { address = \"localhost\" }",
     "waxwing.lua:3: address: \"localhost\" is no address of the form \"192.0.2.1\", \"2001:db8::1\" or "
     "\"unix:/path\"\n"},
    {TEST_HEAD "listen { address = \"127.0.0.1:26\", port = 25 }",
     "waxwing.lua:3: 'address' in listen holds a port, and so does the key 'port'\n"},
    {TEST_HEAD "listen \"25\"",
     "waxwing.lua:3: 'listen' is written listen { ... }\n"},
    {TEST_HEAD "listen { port = 25 }\n"
     "listen { port = 25, address = \"192.0.2.1\" }",
     "waxwing.lua:4: 192.0.2.1:25 is listened on twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "listen { address = \"unix:/x\" } listen { address = \"/x\" }",
     "waxwing.lua:3: unix:/x is listened on twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "for i = 1, 65 do listen { port = i, address = \"127.0.0.1\" } end",
     "waxwing.lua:3: more than 64 addresses to listen on\n"},
    {TEST_HEAD "relay_from { \"10.1.2.3/8\" }",
     "waxwing.lua:3: relay_from: \"10.1.2.3/8\" has bits set behind the prefix: did you mean "
     "\"10.0.0.0/8\"?\n"},
    {TEST_HEAD "relay_from {\n"
     "  \"10.0.0.0/8\",\n"
     "  \"2001:db8::1/32\",\n"
     "  \"x\",\n"
     "  3,\n"
     "}",
     "waxwing.lua:5: relay_from: \"2001:db8::1/32\" has bits set behind the prefix: did you mean "
     "\"2001:db8::/32\"?\n"
     "waxwing.lua:6: relay_from: \"x\" is no address or block of addresses\n"
     "waxwing.lua:7: 'relay_from' must be text in quotes and not a number\n"},
    {TEST_HEAD "relay_from { \"10.0.0.0/33\", \"10.0.0.0/08\" }",
     "waxwing.lua:3: relay_from: \"10.0.0.0/33\" has no number of bits from 0 to 32 (IPv6: to 128) behind "
     "the '/'\n"
     "waxwing.lua:3: relay_from: \"10.0.0.0/08\" has no number of bits from 0 to 32 (IPv6: to 128) behind "
     "the '/'\n"},
    {TEST_HEAD "relay_from { \"0.0.0.0/0\", \"::/0\" }",
     "waxwing.lua:3: relay_from: \"0.0.0.0/0\" is the whole Internet: this would be an open relay\n"
     "waxwing.lua:3: relay_from: \"::/0\" is the whole Internet: this would be an open relay\n"},
    {TEST_HEAD "relay_from { net = \"10.0.0.0/8\" }",
     "waxwing.lua:3: unknown key 'net' in relay_from (it takes a list: { \"...\", \"...\" })\n"},
    {TEST_HEAD "relay_from(true)",
     "waxwing.lua:3: 'relay_from' is written relay_from { \"BLOCK\", ... }\n"},
    {TEST_HEAD "route { via = \"smtp://hub.example\" }",
     "waxwing.lua:3: route does not say which mail it is for: to, from or tag (to = \"*\" for all)\n"},
    {TEST_HEAD "route { to = \"*\" }",
     "waxwing.lua:3: route says nothing of how mail goes: via, source, tls or cert\n"},
    {TEST_HEAD "route {\n"
     "  to = \"<>\",\n"
     "  from = \"a@b@c\",\n"
     "  tag = \"a b\",\n"
     "  via = \"smtp://\" }",
     "waxwing.lua:4: to: \"<>\" is the sender of reports and no recipient\n"
     "waxwing.lua:5: from: \"a@b@c\" is no pattern: \"*\", \"example.org\", \"*.example.org\", "
     "\"*@example.org\" or \"joe@example.org\"\n"
     "waxwing.lua:6: tag: \"a b\" holds a space or a character outside ASCII\n"
     "waxwing.lua:7: via: \"smtp://\" is neither a host name nor an address (an IPv6 address stands in brackets)\n"},
    {TEST_HEAD "route { to = \"*.a b\", from = \"*@-x\", via = \"mx\" }",
     "waxwing.lua:3: to: \"a b\" is no domain name\n"
     "waxwing.lua:3: from: \"-x\" is no domain name\n"},
    {TEST_HEAD "route { to = \"a.example\",\n"
     "  source = \"bulk\" }",
     "waxwing.lua:4: source: \"bulk\" is no source of this configuration\n"},
    {TEST_HEAD "source \"a\" { address = \"192.0.2.1\" } source \"A\" { address = \"192.0.2.2\" }",
     "waxwing.lua:3: source \"a\" is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "source \"a\"",
     "waxwing.lua:3: source \"a\" needs { ... } behind its name\n"},
    {TEST_HEAD "source \"a b\" {}",
     "waxwing.lua:3: source: \"a b\" holds a space or a character outside ASCII\n"},
    {TEST_HEAD "source { address = \"192.0.2.1\" }",
     "waxwing.lua:3: source is written source \"NAME\" { key = value, ... }\n"},
    {TEST_HEAD "source \"a\" {}",
     "waxwing.lua:3: 'address' in source is missing: text in quotes\n"},
    {TEST_HEAD "source \"a\" { address = {}, helo = \"x\" }",
     "waxwing.lua:3: 'address' in source names no address\n"
     "waxwing.lua:3: helo: \"x\" must be a full name with a dot in it, such as \"mail.example.org\"\n"},
    {TEST_HEAD "source \"a\" { address = { \"0.0.0.0\", \"192.0.2.1:25\", \"::1\", \"0:0::1\", \"h\" }, adress = 1 }",
     "waxwing.lua:3: unknown key 'adress' in source: did you mean 'address'?\n"
     "waxwing.lua:3: address: \"0.0.0.0\" is no IPv4 or IPv6 address of a machine\n"
     "waxwing.lua:3: address: \"192.0.2.1:25\" is no IPv4 or IPv6 address of a machine\n"
     "waxwing.lua:3: address: \"0:0::1\" is given twice\n"
     "waxwing.lua:3: address: \"h\" is no IPv4 or IPv6 address of a machine\n"},
    {TEST_HEAD "for i = 1, 65 do source(\"s\" .. i) { address = \"192.0.2.1\" } end",
     "waxwing.lua:3: more than 64 sources\n"},
    {TEST_HEAD "local t = {} for i = 1, 65 do t[i] = \"192.0.2.\" .. i end source \"s\" { address = t }",
     "waxwing.lua:3: more than 64 addresses in one source\n"},
    {TEST_HEAD "listen {\n"
     "  port = 26,\n"
     "  proxy = { \"10.0.0.1/8\" },\n"
     "  greet_delay = \"31s\",\n"
     "  tag = \"\",\n"
     "  tag_header = \"X Tag:\",\n"
     "  normalize = \"yes\",\n"
     "}",
     "waxwing.lua:9: 'normalize' in listen must be true or false and not text\n"
     "waxwing.lua:6: 'greet_delay' in listen must be a time from 0 to 30s, such as \"0\"\n"
     "waxwing.lua:5: proxy: \"10.0.0.1/8\" has bits set behind the prefix: did you mean \"10.0.0.0/8\"?\n"
     "waxwing.lua:7: 'tag' in listen is empty\n"
     "waxwing.lua:8: tag_header: \"X Tag:\" is no name of a header field\n"},
    {TEST_HEAD "listen { port = 26, proxy = { \"0.0.0.0/0\" } } listen { port = 27, proxy = {} } listen { port = 28, "
     "proxy = 3 }",
     "waxwing.lua:3: proxy: \"0.0.0.0/0\" is the whole Internet: write proxy = true when nobody else reaches the "
     "port\n"
     "waxwing.lua:3: 'proxy' in listen names no address\n"
     "waxwing.lua:3: 'proxy' in listen must be true or a list of addresses and not a number\n"},
    {TEST_HEAD "listen { port = 26, lmtp = true, submission = true }",
     "waxwing.lua:3: 'lmtp' and 'submission' in listen exclude each other: users send by SMTP\n"},
    {TEST_HEAD "submit \"/run/" LONG "\" submit(3)",
     "waxwing.lua:3: submit: \"/run/" LONG_BRIEF "\" is no path of a socket (absolute, at most 107 octets)\n"
     "waxwing.lua:3: 'submit' is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "submit(true)",
     "waxwing.lua:3: 'submit' must be text in quotes and not true\n"},
    {TEST_HEAD "submit \"/x\" listen { address = \"unix:/x\" }",
     "waxwing.lua:3: unix:/x is listened on twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "xclient_from { \"::/0\", \"x\" }",
     "waxwing.lua:3: xclient_from: \"::/0\" is the whole Internet: anybody could say that he is one of ours\n"
     "waxwing.lua:3: xclient_from: \"x\" is no address or block of addresses\n"},
    {TEST_HEAD "commands { expn = 1, etrn = \"10.0.0.0/8\", vrfy = true }",
     "waxwing.lua:3: unknown key 'vrfy' in commands (it takes expn, etrn)\n"
     "waxwing.lua:3: 'expn' in commands must be true or false and not a number\n"
     "waxwing.lua:3: 'etrn' in commands must be a list: { \"BLOCK\", ... } and not text\n"},
    {TEST_HEAD "reports { delay_after = \"31d\", verp = \"a@b\", arf = \"a\", supress = true }",
     "waxwing.lua:3: unknown key 'supress' in reports: did you mean 'suppress'?\n"
     "waxwing.lua:3: 'delay_after' in reports must be a time from 0 to 30d, such as \"4h\"\n"
     "waxwing.lua:3: verp: \"a@b\" must be the part before the '@' only\n"
     "waxwing.lua:3: arf: \"a\" must be a full address, such as \"admin@example.org\"\n"},
    {TEST_HEAD "reports {\n"
     "  verp = \"a-name-of-twenty-five-oct\" }",
     "waxwing.lua:4: verp: \"a-name-of-twenty-five-oct\" is too long: with a member's address behind it, it must fit "
     "into 64 characters; give 24 at most\n"},
    {TEST_HEAD "reports { delay_after = 0,\n"
     "  arf = \"fbl@elsewhere.example\" }",
     "waxwing.lua:4: arf: \"fbl@elsewhere.example\" is in no domain of ours: complaints that go elsewhere can't be "
     "read here\n"},
    {TEST_HEAD "domain \"a.example\" { users = { \"joe\" }, deliver = lmtp \"h\" }\n"
     "reports { arf = \"fbl@a.example\" }",
     "waxwing.lua:4: arf: \"fbl@a.example\" is none of the users of its domain\n"},
    {TEST_HEAD "reports { tls = \"b\xc3\xbc@a.example\", tls_organization = \"\xff\", tls_every = 9 }",
     "waxwing.lua:3: 'tls_every' in reports must be a time from 10s to 1d, such as \"24h\"\n"
     "waxwing.lua:3: tls: \"b\xc3\xbc@a.example\" holds a character outside ASCII\n"
     "waxwing.lua:3: tls_organization: \"?\" is no UTF-8 text\n"},
    {TEST_HEAD "reports { tls_contact = \"us\" }",
     "waxwing.lua:3: reports: tls = \"ADDRESS\" is missing, the address that reports about TLS come from\n"},
    {TEST_HEAD "domain \"a.example\" { users = { \"joe\" }, deliver = lmtp \"h\" }\n"
     "reports { delay_after = 0,\n  tls = \"tls@a.example\" }",
     "waxwing.lua:5: tls: \"tls@a.example\" is none of the users of its domain\n"},
    {TEST_HEAD "limits { future_release = \"367d\", deliver_by = 0 }",
     "waxwing.lua:3: 'future_release' in limits must be a time from 0 to 366d, such as \"0\"\n"
     "waxwing.lua:3: 'deliver_by' in limits must be true or false and not a number\n"},
    {TEST_HEAD "route { to = \"*\", via = \"hub.example\" }",
     "waxwing.lua:3: via: \"hub.example\" must be \"smtp://HOST:PORT\", \"smtps://HOST:PORT\" or "
     "\"lmtp://HOST:PORT\"\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://me:pw@hub.example\" }",
     "waxwing.lua:3: via: \"smtp://me:pw@hub.example\" holds a password, or a user with a ':' in it: the one is given by "
     "password = secret \"FILE\", the other by user = \"NAME\"\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://hub.example:0\" }",
     "waxwing.lua:3: via: \"smtp://hub.example:0\" has no port from 1 to 65535 behind the ':'\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://hub_example/path\" }",
     "waxwing.lua:3: via: \"smtp://hub_example/path\" is neither a host name nor an address (an IPv6 "
     "address stands in brackets)\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://mail.example.org\" }",
     "waxwing.lua:3: via: this is the machine itself, mail would run in a circle\n"},
    {TEST_HEAD "resolver \"foo\"",
     "waxwing.lua:3: resolver: \"foo\" is neither \"recursive\" nor \"system\" nor the address of a server\n"
     ""},
    {TEST_HEAD "resolver { \"1.1.1.1\", \"recursive\" }",
     "waxwing.lua:3: 'resolver' names both a kind and servers\n"},
    {TEST_HEAD "resolver { \"1.1.1.1:0\" }",
     "waxwing.lua:3: resolver: \"1.1.1.1:0\" is neither \"recursive\" nor \"system\" nor the address of a "
     "server\n"},
    {TEST_HEAD "resolver { \"1.0.0.1\", \"1.0.0.2\", \"1.0.0.3\", \"1.0.0.4\", \"1.0.0.5\", \"1.0.0.6\", "
     "\"1.0.0.7\", \"1.0.0.8\", \"1.0.0.9\" }",
     "waxwing.lua:3: 'resolver' takes at most 8 servers\n"},
    {TEST_HEAD "resolver { \"unix:/x\" }",
     "waxwing.lua:3: resolver: \"unix:/x\" is neither \"recursive\" nor \"system\" nor the address of a "
     "server\n"},
};

/* domains */
static const struct bad_row domains_rows[] = {
    {TEST_HEAD "domain \"a.example\" { delivr = maildir \"/v/%u\", users = any }",
     "waxwing.lua:3: unknown key 'delivr' in domain: did you mean 'deliver'?\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any,\n"
     "  user = \"vmail\",\n"
     "  delivr = maildir \"/v/%u\",\n"
     "  dkim = \"w1\",\n"
     "}",
     "waxwing.lua:6: unknown key 'delivr' in domain: did you mean 'deliver'?\n"
     "waxwing.lua:7: 'dkim' in domain is not in this version of Waxwing\n"},
    {TEST_HEAD "domain \"a.example\"",
     "waxwing.lua:3: domain \"a.example\" needs { ... } behind its name\n"},
    {TEST_HEAD "domain { users = any }",
     "waxwing.lua:3: domain is written domain \"NAME\" { key = value, ... }\n"},
    {TEST_HEAD "domain(\"a.example\", { users = any })",
     "waxwing.lua:3: domain is written domain \"NAME\" { key = value, ... }\n"},
    {TEST_HEAD "domain \"a.example\" \"b\"",
     "waxwing.lua:3: domain is written domain \"NAME\" { key = value, ... }\n"},
    {TEST_HEAD "domain \"a b\" {}",
     "waxwing.lua:3: domain: \"a b\" is no domain name\n"},
    {TEST_HEAD "domain \"-a.example\" {}",
     "waxwing.lua:3: domain: \"-a.example\" is no domain name\n"},
    {TEST_HEAD "domain(3)",
     "waxwing.lua:3: 'domain' must be text in quotes and not a number\n"},
    {TEST_HEAD "local d = domain \"a.example\"\n"
     "d { users = any, deliver = lmtp \"h\" }\n"
     "d {}",
     "waxwing.lua:3: domain is written domain \"NAME\" { key = value, ... }\n"},
    {TEST_HEAD "domain \"a.example\" {}",
     "waxwing.lua:3: domain \"a.example\" needs users = ..., or same_as = another domain\n"
     "waxwing.lua:3: domain \"a.example\" needs deliver = ...: what becomes of its mail\n"},
    {TEST_HEAD "domain \"a.example\" { any, deliver = lmtp \"h\" }",
     "waxwing.lua:3: domain takes key = value: a value stands without its key\n"},
    {TEST_HEAD "domain \"a.example\" { users = \"joe\", deliver = \"x\" }",
     "waxwing.lua:3: 'users' in domain must be a list: { \"joe\" }\n"
     "waxwing.lua:3: 'deliver' in domain must be maildir \"PATH\" or lmtp \"HOST\"\n"},
    {TEST_HEAD "domain \"a.example\" { users = 3, deliver = lmtp }",
     "waxwing.lua:3: 'users' in domain must be { \"NAME\", ... }, passwd \"FILE\", file \"FILE\", any or system\n"
     "waxwing.lua:3: 'deliver' in domain must be maildir \"PATH\" or lmtp \"HOST\"\n"},
    {TEST_HEAD "domain \"a.example\" { users = passwd, deliver = any }",
     "waxwing.lua:3: 'users' in domain must be { \"NAME\", ... }, passwd \"FILE\", file \"FILE\", any or system\n"
     "waxwing.lua:3: 'deliver' in domain must be maildir \"PATH\" or lmtp \"HOST\"\n"},
    {TEST_HEAD "domain \"a.example\" { users = { \"joe\", \"a b\", \"x@y\", \"a/b\", \".x\", \"\", 3, "
     "\"x..y\", \"\\xff\" }, deliver = lmtp \"h\" }",
     "waxwing.lua:3: user \"a b\" has a character that no user name may have\n"
     "waxwing.lua:3: user \"x@y\" must be the part before the '@' only\n"
     "waxwing.lua:3: user \"a/b\" has a character that no user name may have\n"
     "waxwing.lua:3: user \".x\" has a dot at its start, its end or beside another dot\n"
     "waxwing.lua:3: 'users' in domain is empty\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir \"relative/%u\" }",
     "waxwing.lua:3: maildir: \"relative/%u\" must begin with '/'\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir \"/v/%d\" }",
     "waxwing.lua:3: maildir: \"/v/%d\" must hold %u (the user), or all users would share one Maildir\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir \"/v/%x/%u\" }",
     "waxwing.lua:3: maildir: \"/v/%x/%u\" has a '%' that is neither %u (the user), %d (the domain) nor %% "
     "(a percent sign)\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir \"/v/../%u\" }",
     "waxwing.lua:3: maildir: \"/v/../%u\" must not hold '..'\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir { path = \"/v/%u\", usr = \"x\" } }",
     "waxwing.lua:3: unknown key 'usr' in maildir: did you mean 'user'?\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir {} }",
     "waxwing.lua:3: 'path' in maildir is missing: text in quotes\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, user = \"a\", deliver = maildir { path = \"/v/%u\", "
     "user = \"b\" } }",
     "waxwing.lua:3: 'user' in domain is given twice: here and in maildir\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h:x\" }",
     "waxwing.lua:3: lmtp: \"h:x\" has no port from 1 to 65535 behind the ':'\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"127.0.0.1:0\" }",
     "waxwing.lua:3: lmtp: \"127.0.0.1:0\" has port 0\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"a b\" }",
     "waxwing.lua:3: lmtp: \"a b\" is neither a host name nor an address (an IPv6 address stands in "
     "brackets)\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"unix:x\" }",
     "waxwing.lua:3: lmtp: \"unix:x\" is no path of a socket (absolute, at most 107 octets)\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, user = \"vmail\", deliver = lmtp \"h\" }",
     "waxwing.lua:3: domain \"a.example\" has a user, but no Maildir that would belong to it\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, catchall = \"x\", deliver = lmtp \"h\" }",
     "waxwing.lua:3: domain \"a.example\" has a catchall, but with users = any no mail is left for it\n"},
    {TEST_HEAD "domain \"a.example\" { users = { \"joe\" }, catchall = \"ann\", deliver = lmtp \"h\" }",
     "waxwing.lua:3: catchall: \"ann\" is none of the users of this domain\n"},
    {TEST_HEAD "domain \"a.example\" { users = { \"joe\" }, catchall = \"x@\", deliver = lmtp \"h\" }",
     "waxwing.lua:3: catchall: \"x@\" is no mail address\n"},
    {TEST_HEAD "domain \"a.example\" { users = { \"joe\" }, catchall = \"ann@b.example\", deliver = lmtp "
     "\"h\" }\n"
     "domain \"b.example\" { users = { \"joe\" }, deliver = lmtp \"h\" }",
     "waxwing.lua:3: catchall: \"ann@b.example\" is none of the users of its domain\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\" }\n"
     "domain \"b.example\" { users = any, deliver = lmtp \"h\" }\n"
     "domain \"A.Example\" { users = any, deliver = lmtp \"h\" }",
     "waxwing.lua:5: domain \"a.example\" is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "domain \"a.example\" { same_as = \"b.example\" }",
     "waxwing.lua:3: same_as: \"b.example\" is no domain of this configuration\n"},
    {TEST_HEAD "domain \"a.example\" { same_as = \"A.example\" }",
     "waxwing.lua:3: same_as: \"a.example\" is this domain itself\n"},
    {TEST_HEAD "domain \"a.example\" { same_as = \"b.example\" }\n"
     "domain \"b.example\" { same_as = \"c.example\" }\n"
     "domain \"c.example\" { users = any, deliver = lmtp \"h\" }",
     "waxwing.lua:3: same_as: \"b.example\" is itself same_as \"c.example\": name that one\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any,\n"
     "  same_as = \"b.example\" }",
     "waxwing.lua:5: domain \"a.example\" is same_as another one: no other key may stand beside it\n"},
    {"hostname \"mail.example.org\"\n"
     "domain \"a.example\" { users = { \"joe\", \"abuse\" }, deliver = lmtp \"h\" }",
     "waxwing.lua:2: domain \"a.example\" has no user postmaster or no user abuse: name who reads that mail "
     "with postmaster \"ADDRESS\"\n"},
    {"hostname \"mail.example.org\"\n"
     "postmaster \"x@a.example\"\n"
     "domain \"a.example\" { users = { \"joe\" }, deliver = lmtp \"h\" }",
     "waxwing.lua:2: postmaster: \"x@a.example\" is none of the users of its domain\n"},
    {"hostname \"mail.example.org\"\n"
     "postmaster \"postmaster@a.example\"\n"
     "domain \"a.example\" { users = { \"joe\" }, deliver = lmtp \"h\" }",
     "waxwing.lua:2: postmaster: \"postmaster@a.example\" is none of the users of its domain\n"},
};

/* aliases, programs, relayed domains */
#define LOCAL "users = { \"joe\" }, deliver = lmtp \"h\""
static const struct bad_row aliases_rows[] = {
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = file \"bad.aliases\" }",
     "bad.aliases:2: this is no alias: NAME: TARGET, TARGET, ...\n"
     "bad.aliases:4: alias \"ann\": \"a b\" has a character that no user name may have\n"
     "bad.aliases:6: alias \"max\": \"/var/mail/max\" is a file: mail goes into a Maildir, which is a domain's "
     "deliver\n"
     "bad.aliases:6: alias \"max\": \"x@\" is no mail address\n"
     "bad.aliases:6: alias \"max\": \"\\\" is empty\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = file \"bad2.aliases\" }",
     "bad2.aliases:1: this line goes on with an alias, but none stands before it\n"
     "bad2.aliases:2: alias \"j/d\" has a character that no user name may have\n"
     "bad2.aliases:3: alias \"eve\": \"\"joe\" has a quote that is not closed\n"
     "bad2.aliases:4: alias \"max\": \":fail: no\" is none of the words that begin with ':' (:include:FILE is)\n"
     "bad2.aliases:6: alias \"zoe\" is given twice (the first is in bad2.aliases, line 5)\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = file \"nosuch\" }",
     "waxwing.lua:3: can't read the file /etc/waxwing/nosuch: not found\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { x = \":include:nosuch\", y = \":include: \" } }",
     "waxwing.lua:3: can't read the file /etc/waxwing/nosuch: not found\n"
     "waxwing.lua:3: alias \"y\": \":include:\" names no file\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { x = \":include:circle\" } }",
     "circle:1: alias \"x\": \":include:circle\" stands in too many included files: does one include itself?\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { x = \":include:program\" } }",
     "program:1: alias \"x\": \"|/bin/x\" is a program: none may stand in an included file\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ",\n"
     "  aliases = { x = {}, [\"a@b\"] = \"joe\", y = 3, z = { \"joe\", true } } }",
     "waxwing.lua:4: alias \"a@b\" must be the part before the '@' only\n"
     "waxwing.lua:4: 'aliases' in domain must be text in quotes and not a number\n"
     "waxwing.lua:4: 'aliases' in domain must be text in quotes and not true\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { x = {} } }",
     "waxwing.lua:3: alias \"x\" leads to nobody\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { x = \"joe\", X = \"joe\" } }",
     "waxwing.lua:3: alias \"x\" is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { \"joe\" } }",
     "waxwing.lua:3: 'aliases' in domain takes NAME = \"TARGET\": a value stands without its name\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = passwd \"org.users\" }",
     "waxwing.lua:3: 'aliases' in domain must be file \"FILE\" or { NAME = \"TARGET\", ... }\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { a = \"|x\", b = \"|\", c = \"|/bin/x 'y\", d = \"|/bin/x %z\" "
     "} }",
     "waxwing.lua:3: alias \"a\": \"|x\" must be an absolute path: no shell looks for it\n"
     "waxwing.lua:3: alias \"b\": \"|\" names no program\n"
     "waxwing.lua:3: alias \"c\": \"|/bin/x 'y\" has a quote that is not closed\n"
     "waxwing.lua:3: alias \"d\": \"%z\" has a '%' that is none of %u (user), %d (domain), %t (detail), %s (sender), "
     "%r (recipient) and %% (a percent sign)\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { x = \"|/bin/x\" .. (\" y\"):rep(64) } }",
     "waxwing.lua:3: alias \"x\": \"|/bin/x y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y \" "
     "has more than 64 words\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", aliases = { x = (\"|/bin/x,\"):rep(256) } }",
     "waxwing.lua:3: alias \"x\": \"|/bin/x\" is one program too many: an alias has at most 255\n"},
    {TEST_HEAD "domain \"*\" { users = any, deliver = lmtp \"h\", aliases = { x = \"joe@a.example\" } }",
     "waxwing.lua:3: 'aliases' in domain can't stand in the domain \"*\", which has no names of its own\n"},
    {TEST_HEAD "domain \"*\" { " LOCAL " }",
     "waxwing.lua:3: domain \"*\" takes users = any, and no catchall\n"},
    {"hostname \"mail.example.org\" postmaster \"x@a.example\"\n"
     "domain \"a.example\" { " LOCAL ", aliases = { x = \"y\", y = \"x\" } }",
     "waxwing.lua:1: postmaster: \"x@a.example\" is none of the users of its domain\n"},
    /* programs */
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = pipe \"/bin/x\" }",
     "waxwing.lua:3: 'pipe' must be { \"/PATH\", \"WORD\", ... } and not text\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = pipe { \"x\", 3, \"%z\", usr = \"y\" } }",
     "waxwing.lua:3: unknown key 'usr' in pipe: did you mean 'user'?\n"
     "waxwing.lua:3: pipe: \"x\" must be an absolute path: no shell looks for it\n"
     "waxwing.lua:3: 'pipe' must be text in quotes and not a number\n"
     "waxwing.lua:3: pipe: \"%z\" has a '%' that is none of %u (user), %d (domain), %t (detail), %s (sender), %r "
     "(recipient) and %% (a percent sign)\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = pipe { \"/bin/x\", timeout = 0 } }",
     "waxwing.lua:3: 'timeout' in pipe must be a time from 1s to 1d, such as \"1000s\"\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = pipe {} }",
     "waxwing.lua:3: pipe takes a program and its words: 1 to 64 texts\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, user = \"a\", deliver = pipe { \"/bin/x\", user = \"b\" } }",
     "waxwing.lua:3: 'user' in domain is given twice: here and in pipe\n"},
    /* plus, forward, homes */
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", plus = \"a\" } domain \"b.example\" { " LOCAL ", plus = \"+-_=#\" } "
     "domain \"c.example\" { " LOCAL ", plus = true }",
     "waxwing.lua:3: plus: \"a\" has a character that can't part a name (these can: + - _ = # ~ ^ * $)\n"
     "waxwing.lua:3: plus: \"+-_=#\" has more than 4 characters\n"
     "waxwing.lua:3: 'plus' in domain must be text in quotes and not true\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", forward = true }",
     "waxwing.lua:3: domain \"a.example\" has forward, which needs users = system: who has a home\n"},
    {TEST_HEAD "domain \"a.example\" { users = system, deliver = lmtp \"h\",\n"
     "  forward = true }",
     "waxwing.lua:4: domain \"a.example\" has forward, which needs deliver = maildir: what else takes the mail may "
     "forward it itself\n"},
    {TEST_HEAD "domain \"a.example\" { users = system, deliver = pipe { \"/bin/x\" },\n"
     "  forward = true }",
     "waxwing.lua:4: domain \"a.example\" has forward, which needs deliver = maildir: what else takes the mail may "
     "forward it itself\n"},
    {TEST_HEAD "domain \"a.example\" { users = system, deliver = maildir \"%h/Maildir\",\n"
     "  forward = \"yes\" }",
     "waxwing.lua:4: 'forward' in domain must be true or false and not text\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir \"%h/Maildir\" }",
     "waxwing.lua:3: domain \"a.example\" has %h in its Maildir, which needs users = system: who has a home\n"},
    {TEST_HEAD "domain \"a.example\" { users = system, deliver = maildir \"/x/%h\" }",
     "waxwing.lua:3: maildir: \"/x/%h\" has %h (the home) not at its front\n"},
    {TEST_HEAD "domain \"a.example\" { users = system, user = \"vmail\", deliver = maildir \"%h/Maildir\" }",
     "waxwing.lua:3: domain \"a.example\" has a user, but with users = system each user writes his own mail\n"},
    /* relay */
    {TEST_HEAD "domain \"a.example\" { relay = \"mx\" }",
     "waxwing.lua:3: domain \"a.example\" needs recipients = \"callout\", a list or any: who exists there. What is taken "
     "for others must be sent back, often to people who never wrote it\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any,\n"
     "  relay = \"mx\" }",
     "waxwing.lua:5: domain \"a.example\" has relay: users, deliver, auth, catchall and forward have no meaning, its mail does "
     "not end here\n"},
    {TEST_HEAD "domain \"a.example\" { relay = \"hub.example\", recipients = \"ask\" }",
     "waxwing.lua:3: 'recipients' in domain must be { \"NAME\", ... }, passwd \"FILE\", file \"FILE\", \"callout\" or "
     "any\n"
     "waxwing.lua:3: relay: \"hub.example\" must be \"smtp://HOST:PORT\", \"smtps://HOST:PORT\" or \"lmtp://HOST:PORT\"\n"},
    {TEST_HEAD "domain \"*\" {\n"
     "  relay = \"mx\", recipients = any }",
     "waxwing.lua:4: domain \"*\" goes to the MX hosts of any domain, for anybody: this would be an open relay\n"},
    {TEST_HEAD "domain \"a.example\" { relay = \"smtp://Mail.example.org\", recipients = any }",
     "waxwing.lua:3: domain \"a.example\" goes to the machine itself: mail would run in a circle\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL ", recipients = any }",
     "waxwing.lua:3: domain \"a.example\" has recipients, which belong to relay: here they are users\n"},
    {TEST_HEAD "domain \"a.example\" { " LOCAL " } domain \"b.example\" { same_as = \"a.example\", plus = \"-\" }",
     "waxwing.lua:3: domain \"b.example\" is same_as another one: no other key may stand beside it\n"},
};

/* as root */
static const struct bad_row root_rows[] = {
    {TEST_HEAD "listen { port = 25 }\n"
     "listen { address = \"unix:/run/waxwing/submit\" }",
     "waxwing.lua:4: unix:/run/waxwing/submit is where sendmail finds the server: listen elsewhere, or move that with "
     "submit \"PATH\"\n"},
    {TEST_HEAD "listen { address = \"unix:/run/waxwing/control\" }",
     "waxwing.lua:3: unix:/run/waxwing/control is the control socket already\n"},
    {TEST_HEAD "control \"/x\"\n"
     "submit \"/x\"",
     "waxwing.lua:4: unix:/x is the control socket already\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir \"/v/%d/%u\" }",
     "waxwing.lua:3: domain \"a.example\" needs user = \"LOGIN\": who owns the Maildirs. Root writes no "
     "mail: a Maildir's links would lead it anywhere\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any,\n"
     "  user = \"root\",\n"
     "  deliver = maildir \"/v/%d/%u\",\n"
     "}",
     "waxwing.lua:5: domain \"a.example\" has root as its user: root writes no mail, a Maildir's links "
     "would lead it anywhere\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = pipe { \"/bin/x\" } }",
     "waxwing.lua:3: domain \"a.example\" needs user = \"LOGIN\": who runs its programs. Root runs none\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\",\n"
     "  aliases = { x = \"|/bin/x\" } }",
     "waxwing.lua:4: domain \"a.example\" needs user = \"LOGIN\": who runs its programs. Root runs none\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, user = \"root\", deliver = pipe { \"/bin/x\" } }",
     "waxwing.lua:3: domain \"a.example\" has root as its user: root writes no mail, a Maildir's links would lead it "
     "anywhere\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, user = \"toor\", deliver = maildir \"/v/%d/%u\" }",
     "waxwing.lua:3: domain \"a.example\" has root as its user: root writes no mail, a Maildir's links "
     "would lead it anywhere\n"},
    {TEST_HEAD "domain \"a.example\" {\n"
     "  users = any,\n"
     "  deliver = maildir {\n"
     "    path = \"/v/%d/%u\", user = \"nosuch\" } }",
     "waxwing.lua:5: there is no user \"nosuch\" on this machine\n"},
};
/* clang-format on */

static void check_rows(const struct bad_row *rows, size_t n, bool is_root)
{
    check_rows_in(rows, n, is_root);
}

static void test_syntax(void **state)
{
    UNUSED(state);
    check_rows(syntax_rows, ARRAY_LEN(syntax_rows), false);
}

static void test_words(void **state)
{
    UNUSED(state);
    check_rows(words_rows, ARRAY_LEN(words_rows), false);
}

static void test_budgets(void **state)
{
    UNUSED(state);
    check_rows(budgets_rows, ARRAY_LEN(budgets_rows), false);
}

static void test_lua_errors(void **state)
{
    UNUSED(state);
    check_rows(lua_errors_rows, ARRAY_LEN(lua_errors_rows), false);
}

static void test_files(void **state)
{
    UNUSED(state);
    check_rows(files_rows, ARRAY_LEN(files_rows), false);
}

static void test_facts(void **state)
{
    UNUSED(state);
    check_rows(facts_rows, ARRAY_LEN(facts_rows), false);
}

static void test_network(void **state)
{
    UNUSED(state);
    check_rows(network_rows, ARRAY_LEN(network_rows), false);
}

static void test_domains(void **state)
{
    UNUSED(state);
    check_rows(domains_rows, ARRAY_LEN(domains_rows), false);
}

static void test_aliases(void **state)
{
    UNUSED(state);
    check_rows(aliases_rows, ARRAY_LEN(aliases_rows), false);
}

static void test_root(void **state)
{
    UNUSED(state);
    check_rows(root_rows, ARRAY_LEN(root_rows), true);
}

/* Each run is a world of its own: what one left behind is not seen by the next. */
static void test_runs_are_apart(void **state)
{
    UNUSED(state);
    struct fixture f;
    fixture_init(&f, false);
    assert_non_null(fixture_load(&f, STR(TEST_HEAD "leftover = 25\nlisten { port = leftover }")));
    assert_null(fixture_load(&f, STR(TEST_HEAD "listen { port = leftover }")));
    assert_str(buf_str(&f.report.errors),
               "waxwing.lua:3: unknown word 'leftover' (text stands in quotes: \"leftover\")\n");
    fixture_fini(&f);
}

/* All are counted, twenty are shown, and none twice. */
static void test_many_errors(void **state)
{
    UNUSED(state);
    struct fixture f;
    fixture_init(&f, false);
    assert_null(fixture_load(&f, STR(TEST_HEAD "for i = 1, 50 do relay_from { \"x\" .. i } end")));
    assert_int_equal(f.report.n_errors, 2); /* relay_from stands once */
    assert_null(fixture_load(&f, STR(TEST_HEAD "for i = 1, 50 do domain(\"-\" .. i) end")));
    assert_int_equal(f.report.n_errors, 50);
    struct str rest = buf_str(&f.report.errors);
    unsigned n_lines = 0;
    while (rest.n > 0) {
        (void)str_cut(&rest, '\n');
        n_lines++;
    }
    assert_int_equal(n_lines, 20);
    fixture_fini(&f);
}

/* However a file is cut off, the answer is an error or a configuration, and never a crash. */
static void test_cut_off(void **state)
{
    UNUSED(state);
    static const char lua[] =
        TEST_HEAD "listen { port = 25, address = \"127.0.0.1\" } -- comment\n"
                  "domain \"a.example\" { users = { \"joe\", [[ann]] }, deliver = lmtp \"h:24\" }\n"
                  "route { to = \"*\", via = \"smtp://hub.example:587\" }\n";
    for (size_t n = 0; n < sizeof lua; n++) {
        struct fixture f;
        fixture_init(&f, false);
        const struct config *c = fixture_load(&f, str_of(lua, n));
        assert_int_equal(c == NULL, f.report.n_errors > 0);
        assert_int_equal(f.report.errors.n > 0, f.report.n_errors > 0);
        fixture_fini(&f);
    }
}

/* Memory that runs out at any point is an error that says so. */
static void test_little_memory(void **state)
{
    UNUSED(state);
    static const char lua[] =
        TEST_HEAD "domain \"a.example\" { users = { \"joe\", \"ann\" }, deliver = lmtp \"h\" }";
    bool was_enough = false;
    for (size_t limit = 0; limit < 20000; limit += 64) {
        struct fixture f;
        fixture_init(&f, false);
        f.arena.limit = limit;
        const struct config *c = fixture_load(&f, str_from_c(lua));
        assert_int_equal(c == NULL, f.report.n_errors > 0);
        was_enough = c != NULL;
        if (c == NULL && str_find(buf_str(&f.report.errors), STR("memory")) == STR_NPOS)
            fail_msg("at %zu: %.*s", limit, STR_FMT(buf_str(&f.report.errors)));
        fixture_fini(&f);
    }
    assert_true(was_enough);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),         cmocka_unit_test(test_words),
        cmocka_unit_test(test_budgets),        cmocka_unit_test(test_lua_errors),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_facts),
        cmocka_unit_test(test_network),        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_root),           cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_runs_are_apart), cmocka_unit_test(test_many_errors),
        cmocka_unit_test(test_cut_off),        cmocka_unit_test(test_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
