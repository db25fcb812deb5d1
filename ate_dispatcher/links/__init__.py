"""Several machines: a dispatcher as one part of a logical one, over whatever carries messages.

What follows is all that a program in another language needs to be a part, over a NATS server: the
wire "ate1". `frames` has the table of frames, `values` that of values. In ``tests/interop`` are
programs of 40 to 70 lines each: in Node.js a producer, a sweep that tells how far it is and gives
value after value, a listener, a caller, and one that asks and answers without being a part; and a
page for a browser.

**Subjects.** A namespace and a part have names of 1 to 64 of ``A-Z a-z 0-9 _ -``. Who speaks is the
token after the address, so that the server's permissions can enforce it.

========================  ==========================================================================
``ate1.NS.p.TO.FROM``     For one part. Reply-to is ``ate1.NS.n.FROM.TO``
``ate1.NS.all.FROM``      For all: `here`, `beat`, `bye`. Reply-to is ``ate1.NS.n.FROM.all.-``
``ate1.NS.r.FROM.TOPIC``  `res`, for all who listen; no reply-to
``ate1.NS.n.ME.>``        Notices: an empty message with status 503 says that nobody was there
``ate1.NS.q.TOPIC``       Questions to whoever there is; parts or not, see below
========================  ==========================================================================

A part subscribes to ``p.ME.*``, ``all.*`` and ``n.ME.>`` of its namespace, and to ``r.>`` if it
listens to anything: to one subject for all topics, for the server orders what one sender says on
all of them, and two subscriptions may be two queues. Subscribe without echo, before the first word
is said, and handle all messages in the order in which they are read. No headers, no queue groups.
`subjects` says how a topic is written in a subject. Readers take it from the frame.

A message is one frame or several, a line each; see `frames` for what each must be, and for what is
ignored. Nothing that arrives may end the program: a malformed frame is dropped, the next one not.

**Who is there.** A part that has connected, for the first time or again, says `here` with `why`
``"new"`` to all; each of the others answers it with its own, ``"you"``; nobody answers that. It
waits for them 50 ms after the last that has come, 500 ms at most, and not at all after a 503. At
each change it says `here` to all, ``"changed"``, with all that it has, and an `epoch` that is one
more. `instance` is any text, another one at each start: whoever sees a new one forgets what it knew
of that part, its clock included, and takes the old one for gone. One that ends in ``@HOST-PROCESS``
tells whoever finds the name taken where that part is.

Once in a second it says `beat` to all. Whoever hears a `beat` of an unknown part or instance, or of
a newer `epoch` than it knows, says `here`, ``"new"``, to that part, which answers. So what was
missed heals. A part is gone, and what it owes with it, after its `bye`; when it owes an answer, and
for 120 ms everything to its subject had a 503; or when nothing was heard of it for three seconds.
For two seconds after one's own connection was made a 503 proves nothing. Who waits for an answer
says ``["probe"]`` five times a second to the part that owes it: nobody answers that, but the server
with a 503 if there is nobody. Two parts cannot have one name: whoever hears a `here` of its own
name and another instance within its first round must leave. A part that only answers need not
remember the others.

**Asking.** `ask` goes to each part that has producers on the topic, in `topics` or by one of its
`patterns`, with those of its members that are meant, and with an `id` that the asker has not used
before in this instance. Who asks must have said `here`: strangers are answered by `not`. The asker
keeps the deadline: it counts the time by its own clock, and whoever has not answered by then is
missing. It may take the request back: `can` with null when it has ended before its time, or with
members that are not wanted any more while it goes on. Each member says one of these, and then no
more:

* `ans` or `err`; or `part` for each value of several, and `fin`, or `err`, at the end of those;
* `not`, if it will not begin, at any time; to members that are unknown ``"declined"`` at once; of
  an `ask` with an `id` that was begun before and is not open any more ``"gone"``;
* `skip`, if the request was over, by its deadline or by `can`, before it has begun;
* `late`, if it has come to its end after that. `ans` or `err` say the same, and are longer.

What comes after the end counts for reports alone. So does `end`, which a part may say when the
request is over there: where those stand who have not answered, a verdict, ``"missing"`` or
``"cancelled"``, and with ``"missing"`` a standing, ``"queued"`` or ``"running"``. So does `prog`.

**Answering.** Clocks are not compared, differences are. When an `ask` comes, the receiver's clock
less `clock_s` is how long it was on its way, and something unknown; the least of that, over all
frames with a clock from this instance, is that of the quickest. So the request is over there at
``clock_s + least + ttl_ms / 1000`` of the receiver's clock, however long it was held up; an `ask`
that is over as it comes is to be answered by `skip`. Let the least rise by 0.1 ms in a second, for
clocks drift apart. Times in answers are by the receiver's clock alone: ``waited_ms`` from the
arrival of the `ask`. When the asker is gone, nobody waits.

**Results and published values.** A value that is published, and one that is an answer the asker has
accepted, goes to listeners elsewhere as `res`, from the part that publishes or asks. So whoever
answers sends none. A part numbers those that it sends, from 1, over all topics, and says the number
of the last one in each `here` and `beat`. Nothing is sent twice, but on demand. Whoever listens
gets those of all topics: it takes what is in its `listened` or matches its `hears`, and counts all.
It begins behind the `seq` of the first `here` it has heard of that instance. Is there a gap, or is
the `seq` of a `here` or `beat` beyond it, it says `again` to that part, each 50 ms until it is
filled, and hands on what is behind it only then. The answer are the `res` themselves, to that part
alone, from as long a history as one keeps (here 5,000, or 16 MiB), or `lost` for those that are
gone: they are passed over. What a part has not heard when the other one is gone is lost.

**Lost on the way.** Messages to one part may be numbered, and those of this package are: the first
frame is `seq` then, of a `series` which begins with 1, and is greater than any that was used before
towards that part, also before a restart. Whoever sees `seq` takes a message only when it has taken
the one before it of that series; the first one of another series means that nothing more comes of
the one before. Of a part that is not known only `here` is taken, and it is told `here`, ``"new"``.
If it is not the next one, it says `resend`, in a message without `seq`, four times a second at
most. Then all from there on is said again, with the same numbers, from as long a history as one
keeps; an `ask` whose request has ended with a `ttl_ms` of 0, a `clock_s` of an hour before, and
nothing in it, for who has not taken it to skip; what is older than ten of its beats is `passed`:
who has asked before that, and waits, gives that up. Or a new series begins, and both give up what
they have asked of each other: if there was no room to keep all, or an answer to what is older is
still waited for (who says `took` is said all that it has not taken, however old); if the first is
asked for, and `ours` is not the series that was heard last; and if a series begins in which `heard`
is another one, for then this part was taken for gone there.
If it begins instead of one of which no more was heard than that there is one, each `ask` that is
open there is said again, likewise with a `ttl_ms` of 0 and nothing in it: what was answered in the
one that is over is ``"gone"`` then.
Whoever was lost and is back may be said again what it has heard: what it has begun it does not
begin again. After each connect, and to each new part, something is said to it, be it ``["probe"]``,
so that it knows what it has missed. Who waits for an answer says `seen` in place of a probe, of
series 1 if it has taken none yet; who has sent more than that says something. A program that does
none of this is told each thing once, or never.

**Flow control.** Whoever takes numbered messages says `took`, in a message without `seq`: of the
first of a series, after each 64 KiB, and when it is sent ``["probe"]``. Who has begun with that
must go on. To a part that has said so no more than 8 MiB are on the way, and 32 MiB to all of them,
but 128 KiB to each, and 4,000 messages; what is longer goes where less than 64 KiB are. The rest
waits for a `took` or `seen`. What has ended before it leaves is said as what is said again; an
`ask` leaves with the `ttl_ms` and `clock_s` of then, without members that were disabled. What is to
make the other go on does not wait: `here`, `beat`, `seen`, `resend`, and a probe, five times a
second while something waits. To who takes nothing for 30 beats of ours, or has 512 MiB waiting, a
new series begins, as above; and what has 64 MiB waiting already is not asked, and not begun for.

**Limits.** A payload at most as large as the server says, ``max_payload``, less 1,024; subject and
reply-to together 3,900 bytes, and a topic 1,024 of those; a traceback 4,096 characters; 10,000
producers or topics per part; 10,000 values, or 16 MiB, held behind one gap. A part that
cannot say all it has in one `here` is not seen. To one part `here` is said ten times in a second at
most, at its word; a series begins 50 ms after the one before. Beats are the square of the number of
parts: some 300 in a namespace.

While it is not connected a part sends nothing, and what its client would send later, after it has
connected again, is stale: an `ask` must leave with the time that is left, or not at all.

**Values** are JSON, and tagged objects for what that has not. A number without fraction or exponent
is an int in Python: a language with one kind of number sends 5.0 as 5, an int, and cannot read
whole numbers beyond 2**53 exactly. An array is a list, never a tuple. An object whose keys begin
with ``$`` is sent as ``{"$map": [[key, value], ...]}``. Programs may leave tags as they are.

**Whoever there is** may be asked without being a part, and ask: one request of NATS to
``ate1.NS.q.TOPIC``, and any number of replies, to be waited for until the asker has enough. The
payload is one JSON object, ``{"args": [...], "kwargs": {...}, "ttl_ms": 1000}``, of which all but
`args` may be missing; the answer any JSON value, or ``{"$error": {"kind": ..., "message": ...,
"traceback": ...}}`` or ``{"$reply": {"value": ...}}``, which parts say, with whose it is in both:
``"producer": ..., "part": ...``.
Several of one queue group answer in turn.

Parts may also answer ``$SRV`` as ADR-32 of NATS says, named ``ate1-NS``, for its tools.
"""

from __future__ import annotations

from .transport import Receiver, Transport
from .values import ValueType

__all__ = ["Receiver", "Transport", "ValueType"]
