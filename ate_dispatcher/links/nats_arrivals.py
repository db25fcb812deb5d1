"""What arrives on which subjects of a NATS server, and what the link is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, FrozenSet, Optional, Set, Tuple

from typing_extensions import Protocol

from .._time.clock import REAL
from .nats_service import Service
from .nats_subjects import Subjects
from .transport import Receiver

if TYPE_CHECKING:
    from .nats_client import Handler, Msg

__all__ = ["Arrivals"]


class _Thread(Protocol):
    """Whoever reads, and writes answers."""

    def post(self, subject: str, payload: bytes, reply: str) -> None: ...

    def stir(self) -> None: ...

    def lost(self, kind: str, message: str, *args: Any) -> None: ...


class Arrivals:
    """What one part subscribes to, and hands on as soon as it is read. For the transport's thread.

    Attributes
    ----------
    receiver: Receiver or None
        Who is told; nobody from `close` on, on whatever thread that was called.
    vital: frozenset of str
        Subjects without which there is no being a part.
    """

    def __init__(
        self, receiver: Receiver, subjects: Subjects, service: Service, thread: _Thread
    ) -> None:
        self.receiver: Optional[Receiver] = receiver
        self._subjects = subjects
        self._service = service
        self._thread = thread
        self._asked: Set[int] = set()
        self._offered: Dict[str, Tuple[str, Handler]] = {}
        self._wanted: Dict[str, Tuple[str, Handler]] = {
            f"{subjects.to_us}*": ("", self._for_us),
            f"{subjects.to_all}*": ("", self._for_all),
            f"{subjects.notices}>": ("", self._notice),
        }
        self.vital: FrozenSet[str] = frozenset(self._wanted)
        for each in service.subjects():
            self._wanted[each] = ("", self._for_service)

    def wanted(self) -> Dict[str, Tuple[str, Handler]]:
        """Subjects, each with its queue group, if there is one, and whoever is handed messages."""
        return {**self._wanted, **self._offered}

    def hear(self, on: bool) -> None:
        """Whether what is said on topics is wanted."""
        subject = f"{self._subjects.results}>"
        self._wanted.pop(subject, None)
        if on:
            self._wanted[subject] = ("", self._on_topic)

    def offer(self, topics: FrozenSet[str], group: str) -> None:
        """On which topics the part is asked."""
        subjects = {topic: f"{self._subjects.questions}{topic}" for topic in topics}
        self._offered = dict.fromkeys(subjects.values(), (group, self._question))
        self._service.offer(subjects, group)

    def expect(self, number: int) -> None:
        """Answers to the open request of that number."""
        self._asked.add(number)

    def expect_no_more(self, number: int) -> None:
        """Of that number."""
        self._asked.discard(number)

    def malformed(self, error: Exception) -> None:
        """Of a message nothing could be made."""
        self._service.failed(str(error))
        if self.receiver is not None:
            self.receiver.malformed()
        message = "a message is dropped, nothing can be made of it: %s"
        self._thread.lost("malformed", message, error)

    # -- what nats-py calls while it reads ---------------------------------------------------------

    def _for_us(self, msg: Msg) -> None:
        self._service.received()
        self._from_a_part(msg, len(self._subjects.to_us))

    def _for_all(self, msg: Msg) -> None:
        self._from_a_part(msg, len(self._subjects.to_all))

    def _on_topic(self, msg: Msg) -> None:
        self._from_a_part(msg, len(self._subjects.results))

    def _from_a_part(self, msg: Msg, start: int) -> None:
        sender = self._subjects.sender(msg.subject[start:])
        if sender is None:
            self.malformed(ValueError(f"no part sends on {msg.subject[:80]!r}"))
            return
        receiver = self.receiver
        if receiver is not None:
            self._thread.stir()
            receiver.received(sender, msg.data)

    def _notice(self, msg: Msg) -> None:
        receiver = self.receiver
        if receiver is None:
            return
        tail = msg.subject[len(self._subjects.notices) :]
        nobody = not msg.data and (msg.headers or {}).get("Status") == "503"
        number = self._subjects.number(tail)
        if number is not None:
            if number in self._asked:
                receiver.answered(number, b"" if nobody else msg.data or b" ")
        elif nobody:
            receiver.unreachable("" if "." in tail else tail)
        else:
            self.malformed(ValueError(f"nobody answers on {msg.subject[:80]!r}"))
        self._thread.stir()

    def _question(self, msg: Msg) -> None:
        topic = msg.subject[len(self._subjects.questions) :]
        if msg.reply and not self._subjects.may_answer(msg.reply):
            message = "a request on %.60s is dropped: its answer is to go to %.60s"
            self._thread.lost("reply", message, topic, msg.reply)
            return
        receiver = self.receiver
        if receiver is not None:
            self._service.asked(topic, msg.reply, REAL.now())
            receiver.asked(topic, msg.data, msg.reply)
            self._thread.stir()

    def _for_service(self, msg: Msg) -> None:
        answer = self._service.answer(msg.subject.split(".")[1])
        if answer is not None and self._subjects.may_answer(msg.reply):
            self._thread.post(msg.reply, answer, "")
            self._thread.stir()
