#!/usr/bin/env python3
"""gen-sandbox.py: from sandbox.policy to BPF (classic, as seccomp(2) takes it) in a C header.

    gen-sandbox.py POLICY OUT CC...      CC: the C compiler's command, which knows the numbers of all calls

A section is a piece of BPF that begins and ends with the call's number in the accumulator, so pieces can be
strung together: rules of one call are one block, entered if the number matches.
"""
import re
import subprocess
import sys

MOST_JUMP = 255                                        # a jump is an 8-bit count of instructions


class PolicyError(Exception):
    """What is wrong, with the line."""


class Rule:
    """One line of a section."""

    def __init__(self, line, number):
        text, colon, reason = line.partition(" : ")
        match = re.fullmatch(r"\s+(\w+)(?: (\d) (==|!&) (\w+)| -> (\w+))?", text)
        if not match or not colon or not reason.strip():
            raise PolicyError("line %d: CALL [N ==|!& CONST | -> ERRNO] : reason is expected" % number)
        self.call, self.arg, self.op, self.const, self.errno = match.groups()

    def code(self):
        """The instructions once the call's number has matched; what they jump over comes after them."""
        if self.errno:
            return ["BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | %s)" % self.errno]
        if not self.arg:
            return ["BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)"]
        allow = "BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)"
        if self.op == "==":
            return ["BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)%s, 0, 1)" % self.const, allow]
        return ["BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)%s, 1, 0)" % self.const, allow]


def load(field):
    return "BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, %s))" % field


def block(rules):
    """All rules of one call."""
    body, arg = [], None
    for rule in rules:
        if rule.arg is not None and rule.arg != arg:
            arg = rule.arg
            body.append(load("args[%s]" % arg))
        body += rule.code()
    if arg is not None and rules[-1].arg is not None:
        body.append(load("nr"))
    if len(body) > MOST_JUMP:
        raise PolicyError("%s has too many rules" % rules[0].call)
    return ["BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_%s, 0, %d)" % (rules[0].call, len(body))] + body


def parse(path):
    sections, roles, rules = {}, {}, None
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.split("#")[0].rstrip()
            if not line:
                continue
            if line.startswith("section "):
                words = line.split()
                rules = []
                sections[words[1]] = (words[2] if len(words) > 2 else "", rules)
            elif line.startswith("role "):
                name, names = line[5:].split(" = ")
                missing = [n for n in names.split() if n not in sections]
                if missing:
                    raise PolicyError("line %d: no section %s" % (number, missing[0]))
                roles[name] = names.split()
            else:
                rules.append(Rule(line, number))
    return sections, roles


def section_code(rules):
    calls = {}
    for rule in rules:
        calls.setdefault(rule.call, []).append(rule)
    return [line for group in calls.values() for line in block(group)]


def call_numbers(compiler):
    text = subprocess.run([*compiler, "-dM", "-E", "-"], input="#include <sys/syscall.h>\n", text=True,
                          stdout=subprocess.PIPE, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"#define __NR_(\w+) (\d+)$", text, re.M)}


def write(out, sections, roles, numbers):
    for _, rules in sections.values():
        for rule in rules:
            if rule.call not in numbers:
                raise PolicyError("this system knows no call '%s'" % rule.call)
    with open(out, "w", encoding="utf-8") as file:
        put = lambda *lines: file.write("\n".join(lines) + "\n")
        put("/* Made by gen-sandbox.py from sandbox.policy. */")
        names = list(sections)
        put("enum { %s, SECTION_COUNT };" % ", ".join("SECTION_%s" % n.upper() for n in names))
        for name, (_, rules) in sections.items():
            put("static const struct sock_filter code_%s[] = {" % name,
                *["    %s," % line for line in section_code(rules)], "};")
        put("static const Section sections[SECTION_COUNT] = {")
        for name, (kind, _) in sections.items():
            put('    { "%s", code_%s, ARRAY_LEN(code_%s), %s },' %
                (name, name, name, "WITH_" + (kind or "role").upper()))
        put("};")
        for name, used in roles.items():
            put("static const uint8_t role_%s[] = { %s };" %
                (name, ", ".join("SECTION_%s" % n.upper() for n in used)))
        put("static const Role roles[] = {")
        for name in roles:
            put('    [ROLE_%s] = { "%s", role_%s, ARRAY_LEN(role_%s) },' % (name.upper(), name, name, name))
        put("};", "static const char *const call_names[] = {")
        for name, number in sorted(numbers.items(), key=lambda item: item[1]):
            put('    [%d] = "%s",' % (number, name))
        put("};")


def main():
    policy, out, compiler = sys.argv[1], sys.argv[2], sys.argv[3:]
    try:
        sections, roles = parse(policy)
        write(out, sections, roles, call_numbers(compiler))
    except PolicyError as e:
        sys.exit("%s: %s" % (policy, e))


if __name__ == "__main__":
    main()
