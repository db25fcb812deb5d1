"""Who takes part: what a dispatcher's users register, deregister, switch off and on."""

from __future__ import annotations

from typing import Any, Callable, Hashable, List, Optional, TypeVar, Union, overload

from typing_extensions import ParamSpec, Unpack

from .._engine.engine import Engine, Order
from .admission import EVERY, admit, check_decorates, deregister, register, to_switch
from .functions import (
    FunctionListener,
    FunctionProducer,
    ListenerOptions,
    ProducerOptions,
    is_function,
)
from .listener import ResultListener
from .participant import Participant
from .producer import Producer

__all__ = ["Registrar"]

P = ParamSpec("P")
R = TypeVar("R")
ProducerT = TypeVar("ProducerT", bound=Producer)
ListenerT = TypeVar("ListenerT", bound=ResultListener)


class Registrar(Participant):
    """Keeps who is registered for what; a dispatcher, as far as that goes.

    Every method may be called from any thread, a callback, a signal handler or a finalizer.
    """

    _ate_engine: Engine

    @overload
    def register_result_producer(
        self, producer: ProducerT, topic: Hashable, *topics: Hashable, start: bool = False
    ) -> ProducerT: ...

    @overload
    def register_result_producer(
        self, producer: Callable[P, R], topic: Hashable, *topics: Hashable, start: bool = False
    ) -> FunctionProducer[P, R]: ...

    def register_result_producer(
        self, producer: Any, topic: Hashable, *topics: Hashable, start: bool = False
    ) -> Any:
        """Let *producer* answer requests on *topic* (and *topics*) sent from now on.

        A topic may be a :class:`TopicPattern`: then on all that match. Twice is once. With
        ``start=True`` it is started too, unless it was. A function is made a producer of, a new one
        each time: ``function(topic, *args, **kwargs)`` gives the answers.

        Returns
        -------
        Producer
            What was registered.

        Raises
        ------
        BadType
            *producer* is no Producer, forgot ``super().__init__()`` or does not override
            ``produce_dispatcher_output``; a topic is not hashable.
        DispatcherStopped
            After :meth:`stop`.
        ClockMismatch
            It serves a dispatcher of another clock.
        """
        if is_function(producer):
            producer = FunctionProducer(producer)
        admit(producer, Producer, "producer", "produce_dispatcher_output")
        register(self._ate_engine, producer, "producers", (topic, *topics), start)
        return producer

    @overload
    def register_result_listener(
        self, listener: ListenerT, topic: Hashable, *topics: Hashable, start: bool = False
    ) -> ListenerT: ...

    @overload
    def register_result_listener(
        self, listener: Callable[P, R], topic: Hashable, *topics: Hashable, start: bool = False
    ) -> FunctionListener[P, R]: ...

    def register_result_listener(
        self, listener: Any, topic: Hashable, *topics: Hashable, start: bool = False
    ) -> Any:
        """Let *listener* hear every result on *topic* (and *topics*) accepted from now on.

        Parameters, result and errors as for :meth:`register_result_producer`; a function is called
        as ``function(topic, value)``.
        """
        if is_function(listener):
            listener = FunctionListener(listener)
        admit(listener, ResultListener, "listener", "process_dispatcher_result")
        register(self._ate_engine, listener, "listeners", (topic, *topics), start)
        return listener

    def deregister_result_producer(
        self, producer: Producer, topic: Hashable = EVERY, *topics: Hashable
    ) -> None:
        """Ask *producer* no more on *topic* (and *topics*); it still answers what it was asked.

        An equal pattern ends what it was registered for by one. Without a topic on none. Silent if
        it was not registered, also after :meth:`stop`.
        """
        deregister(self._ate_engine, producer, "producers", (topic, *topics))

    def deregister_result_listener(
        self, listener: ResultListener, topic: Hashable = EVERY, *topics: Hashable
    ) -> None:
        """Let *listener* hear no results on *topic* (and *topics*) that are accepted later.

        Without a topic, and silent, likewise.
        """
        deregister(self._ate_engine, listener, "listeners", (topic, *topics))

    def producer(
        self, topic: Hashable, *topics: Hashable, **options: Unpack[ProducerOptions]
    ) -> Callable[[Callable[P, R]], FunctionProducer[P, R]]:
        """A decorator: the function answers requests on *topic* (and *topics*) from now on.

        ::

            @dispatcher.producer("volts", exclusive="psu1")
            def volts(topic, channel): ...

        It is made a producer, with the *options* of that, registered and started; the name stands
        for the producer, and can still be called.
        """
        check_decorates("producer", topic)

        def made(function: Callable[P, R]) -> FunctionProducer[P, R]:
            producer = FunctionProducer(function, **options)
            return self.register_result_producer(producer, topic, *topics, start=True)

        return made

    def listener(
        self, topic: Hashable, *topics: Hashable, **options: Unpack[ListenerOptions]
    ) -> Callable[[Callable[P, R]], FunctionListener[P, R]]:
        """A decorator: ``function(topic, value)`` hears results on *topic* (and *topics*).

        It is made a listener, with the *options* of that, registered and started; the name stands
        for the listener, and can still be called.
        """
        check_decorates("listener", topic)

        def made(function: Callable[P, R]) -> FunctionListener[P, R]:
            listener = FunctionListener(function, **options)
            return self.register_result_listener(listener, topic, *topics, start=True)

        return made

    def producers(self) -> List[Producer]:
        """Everybody who is registered as a producer on any topic, disabled ones too."""
        return self._ate_engine.registry.participants("producers")

    def listeners(self) -> List[ResultListener]:
        """Everybody who is registered as a listener on any topic; but no streams."""
        found = self._ate_engine.registry.participants("listeners")
        return [each for each in found if isinstance(each, ResultListener)]

    def disable(self, producer: Union[Producer, str], *, by: Optional[str] = None) -> None:
        """Do not ask *producer* on any topic until :meth:`enable`; it stays registered.

        Or all that are registered by that name; BadValue if nobody is.

        What it has not begun is withdrawn from it soon (verdict ``WITHDRAWN``); what it has begun
        counts. Reports name it as ``off``. From anywhere; twice is harmless. Programs, such as
        hooks, say *by* whom: then it is off until everybody who has disabled it enables it.
        """
        engine = self._ate_engine
        for each in to_switch(engine, producer, by):
            engine.registry.disable(each, by)
            engine.post(Order.WITHDRAW, each._ate_member)

    def enable(self, producer: Union[Producer, str], *, by: Optional[str] = None) -> None:
        """Ask *producer* again from now on, whoever has disabled it; harmless if nobody has.

        With *by* it stays off if it was disabled by somebody else, too.
        """
        for each in to_switch(self._ate_engine, producer, by):
            self._ate_engine.registry.enable(each, by)
