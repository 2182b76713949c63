"""What no file does: ask for the class or the name of a system, or take a name from a file that does not define it."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METHODS = ROOT / "brainrecon" / "methods"
ABOUT_SYSTEMS = {"method", "methods", "system", "systems", "work", "reconstructor"}
"""Names by which code calls a system."""


@cache
def parsed(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def files(*packages):
    return [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]


def place(file, node):
    line = file.read_text(encoding="utf-8").splitlines()[node.lineno - 1].strip()
    return f"{file.relative_to(ROOT)}:{node.lineno}: {line}"


# Systems


@cache
def system_classes():
    """Names of the classes in `brainrecon/methods`. Their base is the same for all and tells none apart."""
    classes = [
        node for file in files("brainrecon/methods") for node in parsed(file).body if isinstance(node, ast.ClassDef)
    ]
    return {node.name for node in classes if not node.name.endswith("Settings")}


@cache
def system_names():
    """Names of systems, as they are typed. A plain word, such as "noise", is a name of other things, too."""
    values = {
        node.value.value
        for file in files("brainrecon/methods")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", None) == "name"
        and isinstance(node.value, ast.Constant)
    }
    return {name for name in values if isinstance(name, str) and not name.isalpha()}


def words(node):
    """Every identifier in an expression."""
    return {getattr(part, "id", None) or getattr(part, "attr", None) for part in ast.walk(node)} - {None}


def is_question(node):
    """Whether a call asks for an attribute that may be missing: `hasattr`, or `getattr` with a default."""
    return node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3)


def asks_for_a_class(node):
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    if node.func.id in ("isinstance", "issubclass"):
        return bool(words(node.args[1]) & system_classes())
    return is_question(node) and bool(words(node.args[0]) & ABOUT_SYSTEMS)


def asks_for_a_name(node):
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
    elif isinstance(node, ast.MatchValue | ast.Subscript):
        sides = [node.value if isinstance(node, ast.MatchValue) else node.slice]
    elif isinstance(node, ast.Dict):
        sides = [key for key in node.keys if key is not None]
    else:
        return False
    constants = {part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)}
    return bool({value for value in constants if isinstance(value, str)} & system_names())


def test_there_are_systems_to_ask_for():
    assert "brain-diffuser" in system_names() and len(system_classes()) > 5


def test_no_file_asks_for_the_class_of_a_system():
    found = [
        place(file, node)
        for file in files("brainrecon", "stages")
        for node in ast.walk(parsed(file))
        if asks_for_a_class(node)
    ]
    assert not found, "\n".join(found)


def test_no_file_but_its_own_asks_for_the_name_of_a_system():
    others = [file for file in files("brainrecon", "stages") if not file.is_relative_to(METHODS)]
    found = [place(file, node) for file in others for node in ast.walk(parsed(file)) if asks_for_a_name(node)]
    assert not found, "\n".join(found)


# Import path is file path


def file_of(module):
    """The file of a module's name, or None."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


@cache
def defined_in(file):
    """Names that a module defines, and those that it gives lazily (in a package's `__all__`)."""
    names = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
            if node.id == "__all__" and file.name == "__init__.py":
                names |= {part.value for part in ast.walk(parsed(file)) if isinstance(part, ast.Constant)}
    if file.name == "__init__.py":
        names |= {path.stem for path in file.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    return names


def test_a_name_is_imported_from_the_file_that_defines_it():
    found = []
    for file in files("brainrecon", "stages", "weights"):
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("brainrecon", "stages", "weights"):
                source = file_of(node.module)
                missing = [
                    alias.name
                    for alias in node.names
                    if not alias.name.startswith("__") and (source is None or alias.name not in defined_in(source))
                ]
                found += [f"{place(file, node)} ({name})" for name in missing]
    assert not found, "\n".join(found)
