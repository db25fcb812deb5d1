"""How the way of published values can be broken (P18)."""

from __future__ import annotations

from typing import Tuple

from .breaking import Variant

__all__ = ["VALUES"]

# Not here, for nobody would notice: the reader does not look at the posts before it parks. A put
# wakes a reader, which goes on with them. Nor that who gives the turn back does not look again: a
# listener looks before it parks. Nor that a listener leaves them to nobody at its end: who is woken
# looks at them before it comes to its STOP, but for one that is killed while it is parked. Nor that
# the end gives up nothing, or tells nobody where all have ended: who looks at a delivery then gives
# it up.
VALUES: Tuple[Variant, ...] = (
    Variant(
        "a post leaves the queue before it is in all mailboxes",
        "P18",
        "_delivery/posts.py",
        "Posts.distribute",
        (
            ("            post = items[0]\n", "            post = items.popleft()\n"),
            ("            items.popleft()\n        return", "        return"),
        ),
        ("publish_in_parts", "publish_in_parts_within_bounds"),
    ),
    Variant(
        "who publishes puts it into the mailboxes itself",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (
            (
                "        posts.items.append(post)\n",
                (
                    "        while outlet is not None:\n"
                    "            outlet.mailbox.put(delivery)\n"
                    "            outlet = outlet.next\n"
                    "        return\n"
                ),
            ),
        ),
        ("publish_and_publish",),
    ),
    Variant(
        "a result does not go behind what was posted",
        "P18",
        "_delivery/posts.py",
        "Posts.go_first",
        (("        return bool(self.items) and self.distribute()\n", "        return False\n"),),
        (
            "publish_and_results",
            "publish_in_parts_and_results",
            "publish_in_parts_within_bounds",
        ),
    ),
    Variant(
        "a result goes before what is left of the posts",
        "P18",
        "_delivery/posts.py",
        "Posts.go_first",
        (
            (
                "        return bool(self.items) and self.distribute()\n",
                "        return self.distribute() and False\n",
            ),
        ),
        ("publish_in_parts_and_results",),
    ),
    Variant(
        "what is for one does not look whether anything is posted",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (("posts.items or SECTION.locked()", "SECTION.locked()"),),
        ("publish_to_one_and_to_all",),
    ),
    Variant(
        "the reader does not distribute",
        "P18",
        "_participants/listener.py",
        "ResultListener.run",
        (("                        see_to(posts)\n", "                        pass\n"),),
        ("publish_and_publish",),
    ),
    Variant(
        "who publishes looks whether it is the oldest before it posts",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (
            (
                "        posts.items.append(post)\n        if not posts.is_oldest(post):\n",
                "        old = len(posts.items)\n        posts.items += [post]\n        if old:\n",
            ),
        ),
        ("publish_and_publish",),
    ),
    Variant(
        "a listener that ends says nothing of what it has not heard",
        "P18",
        "_engine/publish.py",
        "withdraw_rest",
        (("    for item in left:\n", "    for item in ():\n"),),
        ("publish_and_stop_a_listener",),
    ),
    Variant(
        "who finds its delivery over before the callback is kept does not call it",
        "P18",
        "_engine/published.py",
        "Published.keeps",
        (("        return False\n", "        return True\n"),),
        ("callback_on_a_delivery",),
    ),
    Variant(
        "who publishes to one does not look whether somebody is in the middle of a chain",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (("posts.items or SECTION.locked() or", "posts.items or"),),
        ("publish_to_each_and_a_result",),
    ),
)
