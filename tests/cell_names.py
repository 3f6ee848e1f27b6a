"""Which global names the statements of a notebook's cells read and bind."""

import ast
import re
import symtable


def statements(source):
    """The statements of a cell in order, magics left out."""
    plain = re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE)
    for statement in in_order(ast.parse(plain).body):
        yield ast.fix_missing_locations(statement)


def scopes(table):
    yield table
    for child in table.get_children():
        yield from scopes(child)


def reads_and_binds(statement):
    """The global names that a statement reads, functions in it included, and those it binds."""
    module = symtable.symtable(ast.unparse(statement), "cell", "exec")
    reads, binds = set(), set()
    for table in scopes(module):
        for symbol in table.get_symbols():
            if table is module or symbol.is_global():
                if symbol.is_referenced():
                    reads.add(symbol.get_name())
                if symbol.is_assigned() or symbol.is_imported():
                    binds.add(symbol.get_name())
    return reads, binds


def in_order(statements):
    """The statements one after the other, with those inside loops, branches and contexts."""
    for statement in statements:
        if isinstance(statement, ast.For):
            yield ast.Expr(statement.iter)
            yield ast.Assign([statement.target], ast.Constant(0))
        elif isinstance(statement, ast.With):
            for item in statement.items:
                yield ast.Expr(item.context_expr)
                yield ast.Assign([item.optional_vars or ast.Name("_")], ast.Constant(0))
        elif isinstance(statement, ast.If | ast.While):
            yield ast.Expr(statement.test)
        else:
            yield statement
            continue
        yield from in_order([*statement.body, *getattr(statement, "orelse", [])])
