"""YAML 1.2 with the line of each value, so that an error can name it. (In 1.2, 010 is ten and `no` is a word.)"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

Location = tuple[str | int, ...]
"""Keys and indexes from the document's root to a value, as in pydantic's `loc`."""


class YamlProblem(Exception):  # noqa: N818 - a problem of the file, raised to its reader
    """The text is not YAML, or has a key twice."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class YamlSource:
    """One parsed document: `data` as plain Python values, and the line of each of them."""

    def __init__(self, text: str) -> None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            self._root: Node | None = YAML(typ="safe", pure=True).compose(text)
            if self._root is not None:
                _refuse_duplicates(self._root)
            self.data: Any = YAML(typ="safe", pure=True).load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise YamlProblem(mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from None
        except YAMLError as error:
            raise YamlProblem(1, f"not YAML: {error}") from None

    def line(self, location: Location) -> int:
        """Return the line (from 1) of the value at this location, or of its nearest existing parent."""
        node, line = self._root, 1
        for key in location:
            found = _child(node, key)
            if found is None:
                break
            line, node = found
        return line


def _child(node: "Node | None", key: str | int) -> "tuple[int, Node] | None":
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    if isinstance(node, MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark.line + 1, value
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        value = node.value[key]
        return value.start_mark.line + 1, value
    return None


def _refuse_duplicates(node: "Node") -> None:
    """Raise YamlProblem for a duplicate key: YAML would silently drop the first of the two."""
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    if isinstance(node, MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            if name.value in seen:
                raise YamlProblem(name.start_mark.line + 1, f"duplicate name: {name.value}")
            seen.add(name.value)
            _refuse_duplicates(value)
    elif isinstance(node, SequenceNode):
        for value in node.value:
            _refuse_duplicates(value)
