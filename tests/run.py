#!/usr/bin/env python3
"""Runs the whole suite, plain and under sanitizers, and ends in one line of counts.

Every test program speaks TAP; its cases are counted, not the program. A program that ends badly or says nothing counts
as one failure.  Usage: run.py BUILD ASAN_BUILD
"""
import json
import os
import re
import subprocess
import sys

WERROR = "true" if os.environ.get("WAXWING_WERROR") == "true" else "false"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def sh(args, **kw):
    return subprocess.run(args, cwd=ROOT, **kw)


def build(folder, options):
    if not os.path.exists(os.path.join(ROOT, folder, "build.ninja")):
        done = sh(["meson", "setup", folder] + options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(done.stdout)
    done = sh(["meson", "configure", folder, "-Dwerror=" + WERROR], stdout=subprocess.DEVNULL)
    done = sh(["ninja", "-C", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        print(done.stdout[-20000:])
        print("0 passed, 1 failed")
        sys.exit(1)


def count_tap(text):
    passed = failed = skipped = 0
    for line in text.splitlines():
        m = re.match(r"\s*(not ok|ok)\b\s*[\d-]*\s*(.*)", line)
        if not m:
            if re.match(r"1\.\.0\s*#\s*skip", line, re.I):
                skipped += 1
            continue
        if re.search(r"#\s*skip", m.group(2), re.I):
            skipped += 1
        elif m.group(1) == "ok":
            passed += 1
        else:
            failed += 1
    return passed, failed, skipped


def run(folder, title, extra):
    print("== %s" % title, flush=True)
    log = os.path.join(ROOT, folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    sh(["meson", "test", "-C", folder, "--no-rebuild", "--quiet"] + extra, stdout=subprocess.DEVNULL)
    total = [0, 0, 0]
    with open(log) as lines:
        for line in lines:
            t = json.loads(line)
            out = t.get("stdout", "")
            p, f, s = count_tap(out)
            bad = t["result"] not in ("OK", "SKIP", "EXPECTEDFAIL")
            if t["result"] == "SKIP" and p + f + s == 0:
                s = 1
            if not bad and p + f + s == 0 and not re.search(r"(?m)^1\.\.", out):
                p = 1  # a program whose exit code is its one case
            if (bad and f == 0) or p + f + s == 0:
                f += 1
            print("%-44s %4d passed %3d failed %3d skipped  %6.1f s" % (t["name"], p, f, s, t["duration"]), flush=True)
            for skipped in re.findall(r"(?mi)^\s*(?:ok.*#\s*skip.*|1\.\.0\s*#\s*skip.*)$", out):
                print("    " + skipped.strip())
            if f:
                print("---- %s: %s" % (t["name"], t["result"]))
                print((out + t.get("stderr", ""))[-6000:])
                print("----")
            for i, n in enumerate((p, f, s)):
                total[i] += n
    return total


def main():
    plain, asan = sys.argv[1:3]
    build(plain, [])
    totals = run(plain, "plain", [])
    if os.environ.get("WAXWING_NO_SANITIZERS") != "yes":
        build(asan, ["-Db_sanitize=address,undefined", "-Db_lundef=false"])
        again = run(asan, "ASan and UBSan", ["--timeout-multiplier", "4"])
        totals = [a + b for a, b in zip(totals, again)]
    print("%d passed, %d failed, %d skipped" % tuple(totals))
    sys.exit(1 if totals[1] or not totals[0] else 0)


main()
