"""The cursor of a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.widgets import Tree
    from textual.widgets.tree import TreeNode


def go_to(tree: Tree[Any], node: TreeNode[Any]) -> None:
    """Move a tree's cursor to a node, which may have been added just now.

    A tree makes its lines when it has nothing else to do, and until then a new node is on none of them.
    """
    tree.get_node_at_line(0)  # has the lines made
    tree.move_cursor(node)
