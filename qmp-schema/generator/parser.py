# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads schema files: QAPI's syntax, which is JSON with single quotes and # comments.

A block of comment lines between two lines of `##` documents the definition that follows it."""

import os
import re

TOKEN = re.compile(r"""(?P<space>[ \t\r\n]+)|(?P<comment>\#[^\n]*)|(?P<string>'[^'\n]*')
                       |(?P<word>true|false)|(?P<punct>[][{}:,])""", re.X)


class SchemaError(Exception):
    """What is wrong in a schema, and where."""


class Definition:
    """One top-level object of a schema file."""

    def __init__(self, body, doc, where):
        self.body = body
        self.doc = doc
        self.where = where


class FileParser:
    """Turns the text of one file into a list of definitions."""

    def __init__(self, path):
        self.path = path
        with open(path, encoding='utf-8') as f:
            self.text = f.read()
        self.pos = 0
        self.doc = None
        self.token = None
        self.line = 1
        self.advance()

    def fail(self, message):
        raise SchemaError(f'{self.path}:{self.line}: {message}')

    def advance(self):
        """Sets self.token to the next token that is not white space; keeps a doc block met on the way."""
        while self.pos < len(self.text):
            match = TOKEN.match(self.text, self.pos)
            self.line = self.text.count('\n', 0, self.pos) + 1
            if not match:
                self.fail(f'unexpected character {self.text[self.pos]!r}')
            if match.group() == '##':
                self.take_doc()
                continue
            self.pos = match.end()
            if match.lastgroup in ('string', 'word', 'punct'):
                self.token = match.group()
                return
        self.token = None

    def take_doc(self):
        end = re.compile(r'^##$', re.M).search(self.text, self.pos + 2)
        if not end:
            self.fail("a documentation block is not closed with '##'")
        lines = self.text[self.pos + 2:end.start()].strip('\n').split('\n')
        self.doc = [re.sub(r'^# ?', '', line) for line in lines]
        self.pos = end.end()

    def expect(self, token):
        if self.token != token:
            self.fail(f'expected {token!r}, found {self.token!r}')
        self.advance()

    def value(self):
        if self.token == '{':
            return self.object()
        if self.token == '[':
            return self.array()
        if self.token in ('true', 'false'):
            result = self.token == 'true'
        elif self.token and self.token[0] == "'":
            result = self.token[1:-1]
        else:
            self.fail(f'expected a value, found {self.token!r}')
        self.advance()
        return result

    def object(self):
        result = {}
        self.expect('{')
        while self.token != '}':
            key = self.value()
            self.expect(':')
            if key in result:
                self.fail(f'{key!r} is given twice')
            result[key] = self.value()
            if self.token != '}':
                self.expect(',')
        self.advance()
        return result

    def array(self):
        result = []
        self.expect('[')
        while self.token != ']':
            result.append(self.value())
            if self.token != ']':
                self.expect(',')
        self.advance()
        return result

    def definitions(self):
        while self.token is not None:
            doc, self.doc = self.doc, None
            where = f'{self.path}:{self.line}'
            yield Definition(self.object(), doc or [], where)


def parse_schema(path, seen=None):
    """All definitions of the file and of those that it includes, in order, with the list of files read."""
    seen = seen if seen is not None else []
    path = os.path.normpath(path)
    if path in seen:
        return [], seen
    seen.append(path)
    result = []
    for definition in FileParser(path).definitions():
        if 'include' in definition.body:
            child = os.path.join(os.path.dirname(path), definition.body['include'])
            result += parse_schema(child, seen)[0]
        else:
            result.append(definition)
    return result, seen
