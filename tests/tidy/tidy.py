#!/usr/bin/env python3
"""The rules of the house as tests (TAP): floors, symbols, bans, lengths, headers that stand alone, texts that are true.

Usage: tidy.py BUILD_FOLDER
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv[1])

FLOORS = {"base": 0, "wire": 1, "crypto": 1, "proto": 2, "verify": 2, "queue": 2, "io": 2, "policy": 3, "ipc": 3, "ext": 3,
          "config": 4, "service": 5, "prog": 6}
FUNCTION_MAX, FILE_MAX, COLUMNS_MAX = 70, 1000, 120

# what only world.h's implementations and main() may call, by library symbol
WORLD_SYMBOLS = re.compile(
    r"^(clock_\w+|time|gettimeofday|nanosleep|usleep|sleep|localtime\w*|gmtime\w*|mktime|timegm|rand\w*|s?random\w*|getrandom|"
    r"getentropy|arc4random\w*|open\w*|fopen\w*|creat|read|pread\w*|readv|write|pwrite\w*|writev|close|unlink\w*|rename\w*|"
    r"link\w*|mkdir\w*|rmdir|stat\w*|fstat\w*|lstat\w*|opendir|readdir\w*|fsync|fdatasync|ftruncate\w*|socket\w*|bind|listen|"
    r"accept\w*|connect|send|sendto|sendmsg|recv|recvfrom|recvmsg|getaddrinfo|gethostby\w*|poll|ppoll|select|epoll_\w+|pipe\w*|"
    r"dup\w*|fcntl\w*|ioctl|pthread_\w+|thrd_\w+|mtx_\w+|fork|vfork|exec\w*|posix_spawn\w*|waitpid|waitid|kill|signal|sigaction|"
    r"getpid|getppid|gettid|getuid|geteuid|setuid|getpwnam\w*|getenv|mmap\w*|munmap|syslog|printf|fprintf|vfprintf|puts|fputs|"
    r"fwrite)$")
# must() may tell the last words of a role
SYMBOL_EXCEPTIONS = {("base", "fprintf"), ("base", "__fprintf_chk")}
PURE = ["base", "wire", "crypto", "proto", "verify", "queue", "policy", "ipc", "config", "service"]

BANS = [
    (r"\b(strcpy|strcat|stpcpy|sprintf|vsprintf|strtok\w*|gets|scanf|sscanf|fscanf)\s*\(", "unbounded or untyped text", None),
    (r"\b(strtol|strtoul|strtoll|strtoull|atoi|atol|atoll|atof)\s*\(", "numbers are read by str_to_u64", None),
    (r"\b(system|popen)\s*\(", "no shell", None),
    (r"(?<![\w>.])(malloc|calloc|realloc|free|strdup|strndup|alloca)\s*\(", "the heap is behind base/mem.h",
     {"src/base/mem.c"}),
    (r"\b(setjmp|longjmp|sigsetjmp|siglongjmp)\s*\(", "no jumps out of functions", None),
    (r"\b(usleep|nanosleep|sleep)\s*\(", "no sleep in place of a condition", None),
    (r"\btypedef\s+(struct|enum|union)\b", "struct and enum keep their tags", {"src/ipc/schema.h"}),
    (r"\b(TODO|FIXME|XXX)\b", "left out is left out", None),
]
results = []


def check(name, problems):
    results.append(not problems)
    print("%s %d - %s" % ("not ok" if problems else "ok", len(results), name))
    for p in problems[:40]:
        print("# " + p)


def sources(*suffixes, top=("src",)):
    out = []
    for t in top:
        for folder, _, names in os.walk(os.path.join(ROOT, t)):
            out += [os.path.relpath(os.path.join(folder, n), ROOT) for n in names if n.endswith(suffixes)]
    return sorted(out)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def code_only(text):
    """Comments and the insides of string literals blanked, lines kept."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0)) if m.group(0).startswith("/") else '""'
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def is_test(path):
    """Tests and what only they include may see cmocka and the simulator."""
    return re.search(r"(_test\.c|_testing\.[ch]|_scripts\.h|/testing\.h)$", path) is not None


def folder_of(path):
    return path.split("/")[1]


def check_includes():
    bad = []
    for path in sources(".c", ".h"):
        if is_test(path):
            continue
        mine = folder_of(path)
        for m in re.finditer(r'^#include "([^"]+)"', read(path), re.M):
            theirs = m.group(1).split("/")[0]
            if theirs not in FLOORS:
                bad.append("%s includes \"%s\": no such folder" % (path, m.group(1)))
            elif theirs != mine and FLOORS[theirs] >= FLOORS[mine]:
                bad.append("%s (floor %d) includes \"%s\" (floor %d)" % (path, FLOORS[mine], m.group(1), FLOORS[theirs]))
            elif not os.path.exists(os.path.join(ROOT, "src", m.group(1))):
                bad.append("%s includes \"%s\": no such file" % (path, m.group(1)))
    check("a folder includes only lower floors", bad)


def check_foreign_headers():
    homes = {"openssl/": {"crypto", "io"}, "crypt.h": {"crypto"}, "lua": {"config", "policy"}, "lauxlib.h": {"config", "policy"}, "lualib.h": {"config", "policy"},
             "unbound": {"ext"}, "sqlite3.h": {"ext"}, "idn2.h": {"ext"}, "seccomp.h": {"io"}, "jansson.h": {"prog", "ext"}, "curl/": {"ext"}}
    bad = []
    for path in sources(".c", ".h"):
        for m in re.finditer(r"^#include <([^>]+)>", read(path), re.M):
            for prefix, folders in homes.items():
                if m.group(1).startswith(prefix) and folder_of(path) not in folders:
                    bad.append("%s includes <%s>, which belongs to %s" % (path, m.group(1), ", ".join(sorted(folders))))
    check("foreign libraries are seen by their own folder only", bad)


def check_cycles():
    edges = {}
    for path in sources(".h"):
        me = path[len("src/"):]
        edges[me] = re.findall(r'^#include "([^"]+)"', read(path), re.M)
    bad, done = [], set()

    def visit(node, trail):
        if node in trail:
            bad.append(" -> ".join(trail[trail.index(node):] + [node]))
            return
        if node in done:
            return
        for e in edges.get(node, []):
            visit(e, trail + [node])
        done.add(node)
    for node in sorted(edges):
        visit(node, [])
    check("headers include each other in no circle", bad)


def check_symbols():
    bad = []
    seen = 0
    for folder in PURE:
        lib = os.path.join(BUILD, "src", folder, "lib%s.a" % folder)
        if not os.path.exists(lib):
            continue
        seen += 1
        out = subprocess.run(["nm", "-u", lib], stdout=subprocess.PIPE, text=True, check=True).stdout
        for symbol in sorted(set(re.findall(r"^\s+U (\w+)", out, re.M))):
            plain = re.sub(r"^__|_chk$", "", symbol)
            if WORLD_SYMBOLS.match(plain) and (folder, plain) not in SYMBOL_EXCEPTIONS:
                bad.append("%s calls %s" % (folder, symbol))
    check("base to service reach the world only through base/world.h (nm -u of %d libraries)" % seen,
          bad or ([] if seen >= 7 else ["only %d libraries were found" % seen]))


def check_globals():
    bad = []
    for folder in PURE + ["io", "ext"]:
        lib = os.path.join(BUILD, "src", folder, "lib%s.a" % folder)
        if not os.path.exists(lib):
            continue
        out = subprocess.run(["nm", lib], stdout=subprocess.PIPE, text=True, check=True).stdout
        for kind, symbol in re.findall(r"^[0-9a-f]+ ([dDbBC]) (\w[\w.]*)", out, re.M):
            # relocated constant tables are in .data.rel.ro, which nm shows as d too
            if kind in "bBC" and not symbol.startswith("__"):
                bad.append("%s has the mutable global %s" % (folder, symbol))
    check("no mutable globals or statics", bad)


def check_bans():
    bad = []
    for path in sources(".c", ".h"):
        if is_test(path):
            continue
        raw = read(path)
        text = code_only(raw)
        for pattern, why, allowed in BANS:
            if allowed and path in allowed:
                continue
            body = raw if "TODO" in pattern else text
            for m in re.finditer(pattern, body):
                line = body.count("\n", 0, m.start()) + 1
                bad.append("%s:%d: %s: %s" % (path, line, m.group(0).strip(), why))
    check("banned functions and words", bad)


def functions(text):
    """(name, first line, last line) of function bodies: a brace in column 0 to its closing brace in column 0."""
    lines = text.split("\n")
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line == "}" and start is not None:
            head = " ".join(lines[max(0, start - 4):start])
            names = re.findall(r"(\w+)\s*\(", head)
            yield names[-1] if names else "?", start + 1, i + 1
            start = None


def check_lengths():
    long_files, long_functions, long_lines = [], [], []
    for path in sources(".c", ".h", top=("src", "sim", "tests", "fuzz", "bench")):
        text = read(path)
        lines = text.split("\n")
        if len(lines) > FILE_MAX:
            long_files.append("%s has %d lines" % (path, len(lines)))
        is_table = False  # fenced tables may be as wide as their rows
        for i, line in enumerate(lines):
            is_table = "clang-format off" in line or (is_table and "clang-format on" not in line)
            if len(line) > COLUMNS_MAX and not is_table:
                long_lines.append("%s:%d has %d columns" % (path, i + 1, len(line)))
        for name, first, last in functions(text):
            if last - first - 1 > FUNCTION_MAX:
                long_functions.append("%s:%d: %s has %d lines" % (path, first, name, last - first - 1))
    check("files have at most %d lines" % FILE_MAX, long_files)
    check("functions have at most %d lines" % FUNCTION_MAX, long_functions)
    check("lines have at most %d columns" % COLUMNS_MAX, long_lines)


def check_headers_alone():
    bad = []
    headers = [h for h in sources(".h") if not is_test(h)]
    for path in headers:
        done = subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-fsyntax-only", "-I", os.path.join(ROOT, "src"), "-I/usr/include/lua5.4", "-I/usr/include/postgresql",
                               "-x", "c", os.path.join(ROOT, path)], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            bad.append("%s: %s" % (path, done.stderr.split("\n")[0]))
    check("each of %d headers compiles alone" % len(headers), bad)


def check_words():
    bad = []
    ours = sources(".c", ".h", ".py", ".sh", ".md", ".lua", ".8", ".5", top=("src", "sim", "tests", "fuzz", "bench", "docs", "man", "packaging"))
    ours += [n for n in ("README.md", "ARCHITECTURE.md", "Makefile", "meson.build") if os.path.exists(os.path.join(ROOT, n))]
    pattern = re.compile(r"(/work/|/tmp/build)")
    for path in ours:
        if path.startswith("tests/tidy/"):
            continue
        for m in pattern.finditer(read(path)):
            bad.append("%s names %s" % (path, m.group(0)))
    check("no paths of one machine", bad)


def check_file_names_in_docs():
    bad = []
    for doc in ["README.md", "ARCHITECTURE.md"] + sources(".md", top=("docs",)):
        if not os.path.exists(os.path.join(ROOT, doc)):
            bad.append("%s is missing" % doc)
            continue
        for name in re.findall(r"`((?:src|tests|sim|bench|fuzz|docs|man|packaging)/[\w./-]+)`", read(doc)):
            if not os.path.exists(os.path.join(ROOT, name.rstrip("/"))):
                bad.append("%s names %s, which is not there" % (doc, name))
        for name in re.findall(r"`((?:base|wire|proto|queue|io|policy|ipc|ext|config|service|prog)/[\w/-]+\.[ch])`", read(doc)):
            if not os.path.exists(os.path.join(ROOT, "src", name)):
                bad.append("%s names %s, which is not there" % (doc, name))
    check("files that the documents name exist", bad)


def check_man():
    pages = sources(".8", ".5", top=("man",))
    bad = []
    try:
        for page in pages:
            done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", os.path.join(ROOT, page)], stdout=subprocess.PIPE, text=True)
            bad += done.stdout.split("\n")[:5] if done.returncode != 0 else []
    except FileNotFoundError:
        results.append(True)
        print("ok %d - manual pages # SKIP mandoc is not installed" % len(results))
        return
    check("%d manual pages are well-formed" % len(pages), bad or ([] if len(pages) >= 2 else ["pages are missing"]))


check_includes()
check_foreign_headers()
check_cycles()
check_symbols()
check_globals()
check_bans()
check_lengths()
check_headers_alone()
check_words()
check_file_names_in_docs()
check_man()
print("1..%d" % len(results))
sys.exit(0 if all(results) else 1)
