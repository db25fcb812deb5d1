"""How the way of published values can be broken (P18)."""

from __future__ import annotations

from typing import Tuple

from .breaking import Variant

__all__ = ["VALUES"]

# Not here, for nobody would notice: the reader does not look at the posts before it parks. Each put
# wakes a reader, which goes on with them. Nor that a listener leaves them to nobody at its end: who
# is woken looks at them before it comes to its STOP; only one that is killed while it is parked
# does not.
VALUES: Tuple[Variant, ...] = (
    Variant(
        "a post leaves the queue before it is in all mailboxes",
        "P18",
        "_delivery/posts.py",
        "distribute",
        (
            ("        post = POSTS[0]\n", "        post = POSTS.popleft()\n"),
            ("        POSTS.popleft()\n    return", "    return"),
        ),
        ("publish_to_all_then_to_one",),
    ),
    Variant(
        "who publishes puts it into the mailboxes itself",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (
            (
                "        POSTS.append(post)\n",
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
        "follow",
        (("    if POSTS and distribute():\n", "    if False:\n"),),
        ("publish_and_results", "publish_in_parts_and_results"),
    ),
    Variant(
        "a result goes before what is left of the posts",
        "P18",
        "_delivery/posts.py",
        "follow",
        (
            (
                "        POSTS.append(post_of(outlet, message))\n        return True\n",
                "        pass\n",
            ),
        ),
        ("publish_in_parts_and_results",),
    ),
    Variant(
        "who wakes a reader without having put anything takes something out if it has ended",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (
            (
                "                outlet.mailbox.unpark(None)\n                attention.clear()\n",
                "                outlet.mailbox.attend()\n",
            ),
        ),
        ("publish_and_stop_a_listener",),
    ),
    Variant(
        "what is for one does not look whether anything is posted",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (("        if first.next is None and not POSTS:\n", "        if first.next is None:\n"),),
        ("publish_to_one_and_to_all",),
    ),
    Variant(
        "the reader does not distribute",
        "P18",
        "_participants/listener.py",
        "ResultListener.run",
        (("                        see_to_posts()\n", "                        break\n"),),
        ("publish_and_publish",),
    ),
    Variant(
        "who publishes looks whether it is the oldest before it posts",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (
            (
                "        POSTS.append(post)\n        if not _is_oldest(post):\n",
                "        oldest = not POSTS\n        POSTS.append(post)\n        if not oldest:\n",
            ),
        ),
        ("publish_and_publish",),
    ),
    Variant(
        "who publishes wakes nobody where all have ended",
        "P18",
        "_engine/publish.py",
        "hand_out_value",
        (("                engine.post(Order.DISTRIBUTE)\n", ""),),
        ("publish_and_stop", "publish_and_stop_a_listener", "publish_and_stop_at_once"),
    ),
    Variant(
        "a listener that ends says nothing of what it has not heard",
        "P18",
        "_engine/publish.py",
        "hears_no_more",
        (("    for item in left:\n", "    for item in ():\n"),),
        ("publish_and_stop_a_listener",),
    ),
    Variant(
        "who finds its delivery over before the callback is kept does not call it",
        "P18",
        "_engine/delivery.py",
        "Delivery.keeps",
        (("        return False\n", "        return True\n"),),
        ("callback_on_a_delivery",),
    ),
    Variant(
        "the end gives up nothing",
        "P18",
        "_engine/stopping.py",
        "Stopping.give_up_values",
        (("            left = give_up_all(", "            left = 0 and give_up_all("),),
        ("publish_and_stop_at_once", "publish_and_stop"),
    ),
)
