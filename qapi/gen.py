#!/usr/bin/env python3
"""gen.py: reads the schema (qapi/*.json) and writes the C side of it and the reference page.

1. The schema is checked completely here: a name used but not defined, a missing doc, a bad default
   or range stops the build with the file and the definition named.
2. What is generated is tables, structs and prototypes; the code that walks them is qapi/visit.c.
   Tables refer to each other by index and to text by offset, so they need no relocation and a process
   that never looks at them never loads them.
3. Output depends on the schema alone (no time, no path), so it can be compared and cached.

docs/design/qapi.md describes the schema's format.
"""
import json
import os
import re
import sys

SCALARS = {  # name: (C type, kind, introspection's json type)
    'str': ('char *', 'STR', 'string'), 'bool': ('bool', 'BOOL', 'boolean'),
    'int': ('int64_t', 'INT', 'int'), 'size': ('uint64_t', 'SIZE', 'int'),
    'number': ('double', 'NUMBER', 'number'), 'any': ('json_t *', 'ANY', 'value'),
    'null': ('bool', 'NULL', 'null'),
}
for bits in (8, 16, 32, 64):
    SCALARS['int%d' % bits] = ('int%d_t' % bits, 'INT', 'int')
    SCALARS['uint%d' % bits] = ('uint%d_t' % bits, 'UINT', 'int')
POINTERS = ('str', 'any')
RESERVED = set('''auto break case char const continue default do double else enum extern float for goto
    if inline int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while unix linux i386 errno bool true false errp ret session pending'''.split())
MEMBER = re.compile(r'^(?P<type>\[?[A-Za-z][A-Za-z0-9]*\]?)'
                    r'(?:(?P<opt>\?)|=(?P<default>[^ :]*))?'
                    r'(?: in (?P<lo>-?\d+)\.\.(?P<hi>-?\d+))?'
                    r'(?: unit (?P<unit>M))?: (?P<doc>.+)$', re.S)


class SchemaError(Exception):
    pass


def snake(name):
    name = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    name = re.sub(r'([A-Z])([A-Z][a-z])', r'\1_\2', name)
    return re.sub(r'[^A-Za-z0-9]', '_', name).lower()


def upper(name):
    return snake(name).upper()


def c_name(name):
    name = re.sub(r'[^A-Za-z0-9]', '_', name)
    if name[0].isdigit():
        name = 'n' + name
    return name + '_' if name in RESERVED else name


def camel(name):
    return ''.join(p[:1].upper() + p[1:] for p in re.split(r'[^A-Za-z0-9]', name))


def c_str(text):
    return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')


class Member:
    def __init__(self, where, name, text):
        m = MEMBER.match(text) if isinstance(text, str) else None
        if not m:
            raise SchemaError("%s: member '%s' does not read 'TYPE[?|=DEFAULT][ in LO..HI]: doc'"
                              % (where, name))
        self.name, self.doc = name, m['doc']
        self.list = m['type'].startswith('[')
        self.type = m['type'].strip('[]')
        self.default, self.unit = m['default'], m['unit']
        self.optional = bool(m['opt']) or self.default is not None
        self.range = (int(m['lo']), int(m['hi'])) if m['lo'] else None
        self.c = c_name(name)

    def type_name(self):
        return '[%s]' % self.type if self.list else self.type


class Def:
    """One definition; @kind is its key: enum, struct, union, alternate, command, event, option."""
    def __init__(self, kind, raw, where):
        self.kind, self.raw, self.name, self.where = kind, raw, raw[kind], where
        self.doc = raw.get('doc', '')
        self.members = []
        self.used_in_option = False


class Schema:
    KEYS = {
        'enum': {'values', 'since'},
        'struct': {'base', 'members', 'open', 'since'},
        'union': {'base', 'members', 'tag', 'tag_default', 'cases', 'since'},
        'alternate': {'cases', 'since'},
        'command': {'data', 'boxed', 'returns', 'when', 'since', 'session', 'deferred', 'raw', 'oob',
                    'planned', 'features', 'example', 'errors', 'preconfig'},
        'event': {'data', 'since', 'rate_ms', 'rate_by', 'example'},
        'option': {'arg', 'implied', 'forms', 'since', 'group', 'repeat', 'flags'},
    }

    def __init__(self):
        self.defs, self.order = {}, []
        self.commands, self.events, self.options, self.sections = [], [], [], []

    def load(self, path):
        base = os.path.basename(path)
        with open(path, encoding='utf-8') as f:
            try:
                doc = json.load(f)
            except ValueError as e:
                raise SchemaError('%s: %s' % (base, e))
        section = (doc['section'], doc['doc'], [])
        self.sections.append(section)
        for raw in doc['schema']:
            kinds = [k for k in self.KEYS if k in raw]
            kind = kinds[0] if kinds else None
            if 'struct' in kinds:
                kind = 'struct'
            if kind is None:
                raise SchemaError('%s: %s is no definition' % (base, json.dumps(raw)[:60]))
            where = "%s: %s '%s'" % (base, kind, raw[kind])
            extra = set(raw) - self.KEYS[kind] - {kind, 'doc'}
            if extra:
                raise SchemaError('%s: unknown key %s' % (where, ', '.join(sorted(extra))))
            if not raw.get('doc'):
                raise SchemaError('%s: has no doc' % where)
            d = Def(kind, raw, where)
            section[2].append(d)
            if kind in ('enum', 'struct', 'union', 'alternate'):
                self.add_type(d)
            else:
                getattr(self, kind + 's').append(d)

    def add_type(self, d):
        if d.name in self.defs or d.name in SCALARS:
            raise SchemaError('%s: defined twice' % d.where)
        self.defs[d.name] = d
        self.order.append(d)

    def resolve(self):
        for d in list(self.order):
            if d.kind == 'union' and d.raw['tag'] not in d.raw.get('members', {}):
                self.make_tag_enum(d)
        for d in self.commands + self.events:
            self.make_args(d)
        for d in self.order:
            self.check_type(d)
        for d in self.commands:
            if not d.raw.get('example'):
                raise SchemaError('%s: has no example' % d.where)
            if d.raw.get('returns'):
                self.check_ref(d, d.raw['returns'].strip('[]'))
            for state in d.raw.get('when', []):
                if state not in self.defs['RunState'].raw['values']:
                    raise SchemaError("%s: no run state '%s'" % (d.where, state))
        for d in self.options:
            self.check_ref(d, d.raw['arg'])
            self.mark_option(d.raw['arg'])
        for group in (self.commands, self.events, self.options):
            names = [d.name for d in group]
            for n in names:
                if names.count(n) > 1:
                    raise SchemaError("'%s' is defined twice" % n)

    def make_tag_enum(self, d):
        """A union whose tag is not among its members gets an enum made of its cases."""
        name = d.name + camel(d.raw['tag'])
        values = {}
        for case, text in d.raw['cases'].items():
            m = re.match(r'^(-|[A-Za-z0-9]+): (.+)$', text, re.S)
            if not m:
                raise SchemaError("%s: case '%s' does not read 'TYPE: doc'" % (d.where, case))
            values[case] = m[2]
        e = Def('enum', {'enum': name, 'doc': 'The kinds of %s.' % d.name, 'values': values}, d.where)
        e.made = True
        self.defs[name] = e
        self.order.append(e)
        tag = d.raw['tag']
        spec = '=' + d.raw['tag_default'] if 'tag_default' in d.raw else ''
        d.raw.setdefault('members', {})
        d.raw['members'] = {tag: '%s%s: which kind' % (name, spec), **d.raw['members']}

    def make_args(self, d):
        data = d.raw.get('data')
        d.args = None
        if isinstance(data, str):
            self.check_ref(d, data)
            d.args = data
        elif data:
            name = camel(d.name) + ('Args' if d.kind == 'command' else 'Event')
            s = Def('struct', {'struct': name, 'doc': 'Arguments of %s.' % d.name, 'members': data},
                    d.where)
            s.made = True
            self.add_type(s)
            d.args = name

    def check_ref(self, d, name):
        if name not in SCALARS and name not in self.defs:
            raise SchemaError("%s: type '%s' is not defined" % (d.where, name))

    def check_type(self, d):
        if d.kind == 'enum':
            d.values = list(d.raw['values'])
            return
        if d.kind == 'alternate':
            for n, text in d.raw['cases'].items():
                d.members.append(Member(d.where, n, text))
        else:
            base = d
            chain = []
            while base is not None:
                chain.insert(0, base)
                up = base.raw.get('base')
                if up:
                    self.check_ref(d, up)
                base = self.defs[up] if up else None
            for b in chain:
                for n, text in b.raw.get('members', {}).items():
                    d.members.append(Member(d.where, n, text))
                if b.raw.get('open') and b is not d:
                    raise SchemaError('%s: an open struct cannot be a base' % d.where)
        names = [m.name for m in d.members]
        for m in d.members:
            if names.count(m.name) > 1:
                raise SchemaError("%s: member '%s' twice" % (d.where, m.name))
            self.check_ref(d, m.type)
            self.check_member(d, m)
        if d.kind == 'union':
            self.check_union(d)

    def check_member(self, d, m):
        target = self.defs.get(m.type)
        if m.default is not None:
            ok = not m.list and (m.type in SCALARS and m.type not in ('any', 'null') or
                                 target is not None and target.kind == 'enum')
            if target is not None and target.kind == 'enum':
                ok = ok and m.default in target.raw['values']
            elif m.type == 'bool':
                ok = ok and m.default in ('true', 'false')
            if not ok:
                raise SchemaError("%s: bad default of '%s'" % (d.where, m.name))
        if m.range and not 0 <= m.range[1] >= m.range[0]:
            raise SchemaError("%s: bad range of '%s'" % (d.where, m.name))
        if m.range and (m.type not in SCALARS or SCALARS[m.type][1] not in ('INT', 'UINT', 'SIZE')):
            raise SchemaError("%s: a range on '%s', which is no integer" % (d.where, m.name))

    def check_union(self, d):
        tags = [m for m in d.members if m.name == d.raw['tag']]
        if len(tags) != 1 or self.defs[tags[0].type].kind != 'enum':
            raise SchemaError('%s: the tag is not an enum member' % d.where)
        d.tag = tags[0]
        if d.tag.optional and d.tag.default is None:
            raise SchemaError('%s: an optional tag needs a default' % d.where)
        values = self.defs[d.tag.type].raw['values']
        d.cases = {}
        for case, text in d.raw['cases'].items():
            name = text.split(':')[0].strip()
            if case not in values:
                raise SchemaError("%s: case '%s' is not a value of the tag" % (d.where, case))
            if name == '-':
                continue
            self.check_ref(d, name)
            if name in SCALARS or self.defs[name].kind != 'struct':
                raise SchemaError("%s: case '%s' is no struct" % (d.where, case))
            d.cases[case] = name
            clash = {m.name for m in d.members} & set(self.defs[name].raw.get('members', {}))
            if clash:
                raise SchemaError("%s: case '%s' repeats '%s'" % (d.where, case, clash.pop()))

    def mark_option(self, name):
        d = self.defs.get(name)
        if d is None or d.used_in_option:
            return
        d.used_in_option = True
        for m in d.members:
            self.mark_option(m.type)
        for case in getattr(d, 'cases', {}).values():
            self.mark_option(case)

    # --- C types ---
    def slot(self, name, is_list=False):
        """The C type of a member of schema type @name."""
        if is_list:
            return camel(name) + 'List '
        if name in SCALARS:
            c = SCALARS[name][0]
            return c if c.endswith('*') else c + ' '
        return '%s%s' % (name, ' ' if self.defs[name].kind == 'enum' else ' *')

    def is_pointer(self, m):
        return not m.list and (m.type in POINTERS or
                               m.type in self.defs and self.defs[m.type].kind != 'enum')

    def has_flag(self, m):
        return m.optional and m.default is None and not self.is_pointer(m)

    def lists(self):
        out = []
        for d in self.order:
            out += [m.type for m in d.members if m.list]
        out += [d.raw['returns'].strip('[]') for d in self.commands
                if d.raw.get('returns', '').startswith('[')]
        return list(dict.fromkeys(out))


BANNER = '/* Made by qapi/gen.py from the schema; do not edit. */\n'


class Output:
    def __init__(self, schema):
        self.s = schema
        self.pool, self.pool_at, self.pool_len = [], {}, 0
        self.type_ids = {}
        for n in SCALARS:
            self.type_ids[n] = len(self.type_ids) + 1
        for d in schema.order:
            self.type_ids[d.name] = len(self.type_ids) + 1
        for n in schema.lists():
            self.type_ids['[%s]' % n] = len(self.type_ids) + 1
        self.text('')

    def text(self, s):
        if s not in self.pool_at:
            self.pool_at[s] = self.pool_len
            self.pool.append(s)
            self.pool_len += len(s.encode()) + 1
        return self.pool_at[s]

    def tid(self, name):
        return 'QAPI_T_' + (upper(name.strip('[]')) + '_LIST' if name.startswith('[') else upper(name))

    # --- types.h ---
    def types_h(self):
        s = self.s
        o = [BANNER, '#ifndef QAPI_TYPES_H\n#define QAPI_TYPES_H\n\n#include "qapi/visit.h"\n\n']
        o.append('enum {\n')
        for n, i in self.type_ids.items():
            o.append('    %s = %d,\n' % (self.tid(n), i))
        o.append('};\n\n')
        for d in s.order:
            if d.kind == 'enum':
                o.append(self.enum_h(d))
        for d in s.order:
            if d.kind != 'enum':
                o.append('typedef struct %s %s;\n' % (d.name, d.name))
        o.append('\n')
        for n in s.lists():
            o.append('typedef struct %sList { size_t n; %s*at; } %sList;\n'
                     % (camel(n), s.slot(n), camel(n)))
        o.append('\n')
        done = set()
        for d in s.order:
            self.struct_h(d, done, o)
        for d in s.order:
            if d.kind != 'enum':
                o.append(self.helpers_h(d))
        o.append(self.options_h())
        o.append('#endif\n')
        return ''.join(o)

    def enum_h(self, d):
        up = upper(d.name)
        o = ['/* %s */\ntypedef enum %s {\n' % (d.doc, d.name)]
        for v in d.values:
            o.append('    %s_%s,\n' % (up, re.sub(r'[^A-Za-z0-9]', '_', v).upper()))
        o.append('    %s_COUNT,\n} %s;\n' % (up, d.name))
        o.append('static inline const char *%s_name(%s v)\n{\n    return qapi_enum_name(%s, v);\n}\n\n'
                 % (snake(d.name), d.name, self.tid(d.name)))
        return ''.join(o)

    def member_h(self, m, pad='    '):
        has = '%sbool has_%s;\n' % (pad, m.c.rstrip('_')) if self.s.has_flag(m) else ''
        return '%s%s%s%s;\n' % (has, pad, self.s.slot(m.type, m.list), m.c)

    def struct_h(self, d, done, o):
        if d.kind == 'enum' or d.name in done:
            return
        done.add(d.name)
        for case in getattr(d, 'cases', {}).values():
            self.struct_h(self.s.defs[case], done, o)
        o.append('/* %s */\nstruct %s {\n' % (d.doc, d.name))
        if d.kind == 'alternate':
            o.append('    enum {\n')
            for m in d.members:
                o.append('        %s_%s,\n' % (upper(d.name), upper(m.name)))
            o.append('    } is;\n    union {\n')
            for m in d.members:
                o.append(self.member_h(m, '        '))
            o.append('    } u;\n};\n\n')
            return
        for m in d.members:
            o.append(self.member_h(m))
        if d.raw.get('open'):
            o.append('    json_t *%s;\n' % c_name(d.raw['open']))
        if getattr(d, 'cases', None):
            o.append('    union {\n')
            for case, name in d.cases.items():
                o.append('        %s %s;\n' % (name, c_name(case)))
            o.append('    } u;\n')
        if not d.members and not d.raw.get('open'):
            o.append('    char none;\n')
        o.append('};\n\n')

    def helpers_h(self, d):
        f, t, n = snake(d.name), self.tid(d.name), d.name
        return ('static inline void qapi_free_%s(%s *p)\n{\n    qapi_free(%s, p);\n}\n'
                'G_DEFINE_AUTOPTR_CLEANUP_FUNC(%s, qapi_free_%s)\n'
                'static inline %s *qapi_new_%s(void)\n{\n    return qapi_new(%s);\n}\n'
                'static inline bool qapi_visit_%s(json_t *in, QapiMode mode, %s **out,\n'
                '    Error **errp)\n{\n    return qapi_read(%s, in, mode, out, errp);\n}\n'
                'static inline void qapi_write_%s(const %s *p, GString *out)\n{\n'
                '    qapi_write(%s, &p, out);\n}\n\n'
                % (f, n, t, n, f, n, f, t, f, n, t, f, n, t))

    def options_h(self):
        o = ['enum {\n']
        for i, d in enumerate(sorted(self.s.options, key=lambda d: d.name)):
            o.append('    QAPI_OPT_%s = %d,\n' % (upper(d.name), i))
        o.append('};\n\n')
        for d in self.s.options:
            o.append('/* -%s: %s */\n' % (d.name, d.doc))
            o.append('static inline bool qapi_opt_%s(const char *text, %s **out, Error **errp)\n{\n'
                     '    return qapi_option_read(QAPI_OPT_%s, text, out, errp);\n}\n'
                     % (snake(d.name), d.raw['arg'], upper(d.name)))
        return ''.join(o) + '\n'

    # --- commands.h ---
    def param(self, m):
        s = self.s
        has = 'bool has_%s, ' % m.c.rstrip('_') if s.has_flag(m) else ''
        c = s.slot(m.type, m.list)
        if m.list:
            c = 'const %s*' % c
        elif s.is_pointer(m) and m.type != 'any':
            c = 'const ' + c
        return '%s%s%s' % (has, c, m.c)

    def ret_slot(self, d):
        r = d.raw['returns']
        return self.s.slot(r.strip('[]'), r.startswith('[')) + '*'

    def prototype(self, d):
        p = []
        if d.raw.get('session'):
            p.append('QmpSession *session')
        if d.args and (d.raw.get('boxed') or isinstance(d.raw.get('data'), str)):
            p.append('const %s *args' % d.args)
        elif d.args:
            p += [self.param(m) for m in self.s.defs[d.args].members]
        if d.raw.get('deferred'):
            p.append('QmpPending *pending')
        elif d.raw.get('raw'):
            p.append('GString *ret')
        elif d.raw.get('returns'):
            p.append(self.ret_slot(d) + 'ret')
        p.append('Error **errp')
        return 'bool qmp_%s(%s)' % (snake(d.name), ', '.join(p))

    def commands_h(self):
        o = [BANNER, '#ifndef QAPI_COMMANDS_H\n#define QAPI_COMMANDS_H\n\n#include "qapi/command.h"\n'
             '#include "qapi/types.h"\n\n'
             '/* One function a command, implemented by the subsystem it serves.  All run on the control\n'
             ' * thread.  Arguments are borrowed, *ret is the caller\'s to write out and free. */\n\n'
             ]
        for d in self.s.commands:
            o.append('/* %s: %s */\n%s;\n' % (d.name, d.doc, self.prototype(d)))
        o.append('\n#endif\n')
        return ''.join(o)

    # --- dispatch.c ---
    def dispatch_c(self):
        o = [BANNER, '#include "qapi/commands.h"\n\n']
        live = sorted((d for d in self.s.commands if not d.raw.get('planned')), key=lambda d: d.name)
        for d in live:
            o.append(self.thunk(d))
        o.append('const QmpCommand qmp_commands[] = {\n')
        for d in live:
            o.append(self.command_row(d))
        o.append('};\nconst unsigned qmp_commands_count = %d;\n' % len(live))
        return ''.join(o)

    def thunk(self, d):
        a = []
        if d.raw.get('session'):
            a.append('session')
        if d.args and (d.raw.get('boxed') or isinstance(d.raw.get('data'), str)):
            a.append('args')
        elif d.args:
            for m in self.s.defs[d.args].members:
                if self.s.has_flag(m):
                    a.append('a->has_%s' % m.c.rstrip('_'))
                a.append(('&a->%s' if m.list else 'a->%s') % m.c)
        if d.raw.get('deferred') or d.raw.get('raw') or d.raw.get('returns'):
            a.append('ret')
        a.append('errp')
        use = '    const %s *a = args;\n\n' % d.args if any('a->' in x for x in a) else ''
        return ('static bool call_%s(QmpSession *session, const void *args, void *ret, Error **errp)\n'
                '{\n%s    return qmp_%s(%s);\n}\n\n' % (snake(d.name), use, snake(d.name), ', '.join(a)))

    def command_row(self, d):
        states = list(self.s.defs['RunState'].raw['values'])
        when = d.raw.get('when')
        bits = sum(1 << states.index(x) for x in when) if when else 0
        ret = d.raw.get('returns')
        flags = [f for k, f in (('deferred', 'QMP_DEFERRED'), ('raw', 'QMP_RAW'), ('oob', 'QMP_OOB'),
                                ('preconfig', 'QMP_EARLY'))
                 if d.raw.get(k)]
        feats = d.raw.get('features', [])
        return ('    { .name = %s, .call = call_%s, .args = %s, .ret = %s, .when = 0x%x, .flags = %s,\n'
                '      .features = %s },\n'
                % (c_str(d.name), snake(d.name), self.tid(d.args) if d.args else '0',
                   self.tid(ret) if ret else '0', bits, ' | '.join(flags) or '0',
                   '(const char *const[]){ %s, NULL }' % ', '.join(map(c_str, feats)) if feats else 'NULL'))

    # --- stubs.c ---
    def stubs_c(self):
        o = [BANNER, '#include "qapi/commands.h"\n\n'
             '/* For programs without a machine (tests of QMP): they may bring handlers of their own. */\n\n']
        for d in self.s.commands:
            if not d.raw.get('planned'):
                o.append('__attribute__((weak)) %s\n{\n    return error_set(errp, "%s is not served here");'
                         '\n}\n\n' % (self.prototype(d), d.name))
        return ''.join(o)

    # --- events ---
    def event_proto(self, d):
        p = [self.param(m) for m in self.s.defs[d.args].members] if d.args else []
        return 'void qmp_event_%s(%s)' % (snake(d.name), ', '.join(p) or 'void')

    def events_h(self):
        o = [BANNER, '#ifndef QAPI_EVENTS_H\n#define QAPI_EVENTS_H\n\n#include "qapi/types.h"\n\n'
             '/* Any thread; the text is made at once and posted to control. */\nenum {\n']
        for i, d in enumerate(self.s.events):
            o.append('    QAPI_EVENT_%s = %d,\n' % (d.name.upper(), i))
        o.append('    QAPI_EVENT_COUNT = %d,\n};\n\n' % len(self.s.events))
        for d in self.s.events:
            o.append('/* %s: %s */\n%s;\n' % (d.name, d.doc, self.event_proto(d)))
        o.append('\n#endif\n')
        return ''.join(o)

    def events_c(self):
        o = [BANNER, '#include "qapi/events.h"\n#include "qapi/event.h"\n\n']
        o.append('const QapiEvent qapi_events[] = {\n')
        for d in self.s.events:
            o.append('    { .name = %s, .args = %s, .rate_ms = %d, .rate_by = %s },\n'
                     % (c_str(d.name), self.tid(d.args) if d.args else '0', d.raw.get('rate_ms', 0),
                        c_str(d.raw['rate_by']) if 'rate_by' in d.raw else 'NULL'))
        o.append('};\nconst unsigned qapi_events_count = %d;\n\n' % len(self.s.events))
        for d in self.s.events:
            o.append(self.event_proto(d) + '\n{\n')
            if d.args:
                o.append('    const %s args = {\n' % d.args)
                for m in self.s.defs[d.args].members:
                    if self.s.has_flag(m):
                        h = 'has_' + m.c.rstrip('_')
                        o.append('        .%s = %s,\n' % (h, h))
                    cast = '(%s)' % self.s.slot(m.type).rstrip() if self.s.is_pointer(m) else ''
                    o.append('        .%s = %s%s%s,\n' % (m.c, '*' if m.list else '', cast, m.c))
                o.append('    };\n    const %s *p = &args;\n\n' % d.args)
            o.append('    qapi_event_post(QAPI_EVENT_%s, %s);\n}\n\n'
                     % (d.name.upper(), '&p' if d.args else 'NULL'))
        return ''.join(o)

    # --- tables.c ---
    def tables_c(self):
        s = self.s
        types, members, values, cases, limits = [], [], [], ['0'], ['{ 0, 0 }']
        for n in SCALARS:
            c, kind, _ = SCALARS[n]
            types.append('{ .name = %d, .kind = QAPI_%s, .size = sizeof(%s) }'
                         % (self.text(n), kind, c.strip()))
        for d in s.order:
            f = {'name': self.text(d.name), 'kind': 'QAPI_' + d.kind.upper()}
            if d.used_in_option:
                f['doc'] = self.text(d.doc)
            if d.kind == 'enum':
                f.update(size='sizeof(%s)' % d.name, first=len(values), count=len(d.values))
                for v in d.values:
                    doc = d.raw['values'][v] if d.used_in_option else ''
                    values.append('{ %d, %d }' % (self.text(v), self.text(doc)))
            else:
                f.update(size='sizeof(%s)' % d.name, first=len(members), count=len(d.members))
                for m in d.members:
                    members.append(self.member_row(d, m, limits))
            if d.kind == 'union':
                f.update(tag=d.members.index(d.tag), cases=len(cases), elem=self.tid(d.tag.type))
                if d.cases:
                    f['u_at'] = 'offsetof(%s, u)' % d.name
                for v in s.defs[d.tag.type].raw['values']:
                    cases.append(self.tid(d.cases[v]) if v in d.cases else '0')
            if d.kind == 'alternate':
                f['u_at'] = 'offsetof(%s, u)' % d.name
            if d.raw.get('open'):
                f.update(flags='QAPI_OPEN', u_at='offsetof(%s, %s)' % (d.name, c_name(d.raw['open'])))
            types.append('{ %s }' % ', '.join('.%s = %s' % kv for kv in f.items()))
        for n in s.lists():
            types.append('{ .name = %d, .kind = QAPI_LIST, .size = sizeof(%sList), .elem = %s }'
                         % (self.text('[%s]' % n), camel(n), self.tid(n)))
        opts = self.option_rows()
        o = [BANNER, '#include <stddef.h>\n#include "qapi/tables.h"\n#include "qapi/types.h"\n\n']
        for decl, rows in (('QapiType qapi_types[]', ['{ 0 }'] + types),
                           ('QapiMember qapi_members[]', members), ('QapiValue qapi_values[]', values),
                           ('uint16_t qapi_cases[]', cases), ('QapiLimit qapi_limits[]', limits),
                           ('QapiOption qapi_options[]', opts)):
            o.append('const %s = {\n    %s,\n};\n\n' % (decl, ',\n    '.join(rows)))
        o.append('const unsigned qapi_types_count = %d, qapi_options_count = %d;\n\n'
                 % (len(types) + 1, len(opts)))
        o.append('const char qapi_text[] =\n')
        for t in self.pool:
            o.append('    %s "\\0"\n' % c_str(t))
        o.append('    ;\n')
        return ''.join(o)

    def member_row(self, d, m, limits):
        at = 'offsetof(%s, %s)' % (d.name, m.c)
        if d.kind == 'alternate':
            at = '0'
        f = {'name': self.text(m.name), 'type': self.tid(m.type_name()), 'at': at}
        f['has_at'] = ('offsetof(%s, has_%s)' % (d.name, m.c.rstrip('_')) if self.s.has_flag(m) and
                       d.kind != 'alternate' else 'QAPI_NOT')
        if d.used_in_option:
            f['doc'] = self.text(m.doc)
        if m.default is not None:
            f['dflt'] = self.text(m.default)
        flags = [x for x, on in (('QAPI_OPTIONAL', m.optional), ('QAPI_DEFAULT', m.default is not None),
                                 ('QAPI_UNIT_M', m.unit)) if on]
        if flags:
            f['flags'] = ' | '.join(flags)
        if m.range:
            f['limit'] = len(limits)
            limits.append('{ %d, UINT64_C(%d) }' % m.range)
        return '{ %s }' % ', '.join('.%s = %s' % kv for kv in f.items())

    def option_rows(self):
        rows = []
        for d in sorted(self.s.options, key=lambda d: d.name):
            forms = d.raw.get('forms', ['flags'])
            rows.append('{ .name = %d, .doc = %d, .implied = %d, .group = %d, .arg = %s, .flags = %s }'
                        % (self.text(d.name), self.text(d.doc), self.text(d.raw.get('implied', '')),
                           self.text(d.raw.get('group', d.name)), self.tid(d.raw['arg']),
                           ' | '.join('QAPI_FORM_' + f.upper() for f in forms)))
        return rows

    # --- the reference page ---
    def reference(self):
        o = ['# QMP and command-line object reference\n\nMade by `qapi/gen.py` from the schema in `qapi/`; '
             'do not edit.\n']
        for title, doc, defs in self.s.sections:
            o.append('\n## %s\n\n%s\n' % (title, doc))
            for d in defs:
                self.ref_def(d, o)
        return ''.join(o)

    def ref_members(self, members, o):
        if not members:
            return
        o.append('\n| member | type | default | meaning |\n|---|---|---|---|\n')
        for m in members:
            t = '`%s`' % m.type_name() + (' %d..%d' % m.range if m.range else '')
            dflt = '`%s`' % m.default if m.default is not None else 'optional' if m.optional else 'required'
            o.append('| `%s` | %s | %s | %s |\n' % (m.name, t, dflt, m.doc.replace('|', '\\|')))

    def ref_def(self, d, o):
        head = {'command': 'Command `%s`', 'event': 'Event `%s`', 'option': 'Option `-%s`'}
        title = head.get(d.kind, d.kind.capitalize() + ' `%s`') % d.name
        o.append('\n### %s\n\n%s%s\n' % (title, d.doc, ' (Planned: not served yet.)'
                                         if d.raw.get('planned') else ''))
        if d.kind == 'enum':
            o.append('\n' + ''.join('- `%s`: %s\n' % kv for kv in d.raw['values'].items()))
        elif d.kind in ('struct', 'union', 'alternate'):
            self.ref_members(d.members, o)
            for case, text in d.raw.get('cases', {}).items() if d.kind == 'union' else ():
                o.append('\n- `%s` = `%s`: %s' % (d.raw['tag'], case, text.replace('-: ', '')))
            if d.kind == 'union':
                o.append('\n')
            if d.raw.get('open'):
                o.append('\nOther members are kept as they are.\n')
        elif d.kind == 'option':
            imp = d.raw.get('implied')
            o.append('\nTakes `%s`%s%s.\n' % (d.raw['arg'], '; the first word is `%s`' % imp if imp else '',
                                              ', also as JSON' if 'json' in d.raw.get('forms', []) else ''))
        else:
            self.ref_call(d, o)

    def ref_call(self, d, o):
        data = d.raw.get('data')
        if isinstance(data, str):
            o.append('\nArguments: `%s`\n' % data)
        elif d.args:
            self.ref_members(self.s.defs[d.args].members, o)
        if d.raw.get('returns'):
            o.append('\nReturns: `%s`\n' % d.raw['returns'])
        if d.raw.get('when'):
            o.append('\nOnly while: %s\n' % ', '.join(d.raw['when']))
        if d.raw.get('preconfig'):
            o.append('\nAlso in the state of `-preconfig`.\n')
        if d.raw.get('errors'):
            o.append('\nErrors: %s\n' % d.raw['errors'])
        if d.raw.get('rate_ms'):
            o.append('\nAt most one in %d ms%s.\n' % (d.raw['rate_ms'], ' for each `%s`' % d.raw['rate_by']
                                                      if d.raw.get('rate_by') else ''))
        for ex in d.raw.get('example', []):
            o.append('\n    %s' % json.dumps(ex))
        if d.raw.get('example'):
            o.append('\n')
        o.append('\nSince %s\n' % d.raw.get('since', '0.1'))


def main(argv):
    out_dir, files = argv[1], argv[2:]
    schema = Schema()
    try:
        for f in files:
            schema.load(f)
        schema.resolve()
    except (SchemaError, KeyError) as e:
        print('gen.py: %s' % e, file=sys.stderr)
        return 1
    out = Output(schema)
    for name, make in (('types.h', out.types_h), ('commands.h', out.commands_h),
                       ('dispatch.c', out.dispatch_c), ('events.h', out.events_h),
                       ('events.c', out.events_c), ('tables.c', out.tables_c), ('stubs.c', out.stubs_c),
                       ('qmp-reference.md', out.reference)):
        with open(os.path.join(out_dir, name), 'w', encoding='utf-8') as f:
            f.write(make())
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
