"""What a forked child finds: a copy that is stopped, and room for a new one."""

from __future__ import annotations

import os

import pytest
from rig import CAST, pace, silent

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


FORKED = """
    import os, warnings
    warnings.simplefilter('ignore', DeprecationWarning)

    def in_child(check):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                check()
                status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status

    class Hung(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            entered.set()
            gate.wait(60)
            return args

    entered, gate = threading.Event(), threading.Event()
    dispatcher = Dispatcher(name='original')
    site, hung, log = Site(), Hung(), Log()
    dispatcher.register_result_producer(site, 't', start=True)
    dispatcher.register_result_producer(hung, 'hung', start=True)
    dispatcher.register_result_listener(log, 't', start=True)
    dispatcher.start()
    assert dispatcher.send_request('t', 1, ttl=None).results(30) == [(1,)]
    handles = [dispatcher.send_request('hung', n, ttl=None) for n in range(3)]
    entered.wait(30)
"""


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
def test_a_forked_childs_copy_is_stopped_and_says_so() -> None:
    """It refuses, its open handles have ended, its methods do not hang; the parent's go on."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        from ate_dispatcher import DispatcherStopped
        for deed in (lambda: dispatcher.send_request('t'),
                     lambda: dispatcher.register_result_producer(Site(), 't'),
                     lambda: dispatcher.register_result_listener(Log(), 't')):
            try:
                deed()
            except DispatcherStopped as refusal:
                assert 'fork' in str(refusal) and 'original' in str(refusal), refusal
            else:
                raise AssertionError('not refused')
        for handle in handles:
            assert handle.wait(10)
            assert handle.completion is Completion.STOPPED
            assert handle.results(10) == []
            assert list(handle) == []
            str(handle.report())
            handle.cancel()
        dispatcher.deregister_result_producer(site, 't')
        dispatcher.deregister_result_listener(log, 't')
        dispatcher.stop()
        dispatcher.stop(immediate=True)
        dispatcher.join(10)
        assert not dispatcher.is_alive()
        assert dispatcher.statistics().open == 0

    in_child(check)
    gate.set()
    assert [handle.results(30) for handle in handles] == [[(0,)], [(1,)], [(2,)]]
    assert dispatcher.send_request('t', 2, ttl=None).results(30) == [(2,)]
    dispatcher.stop()
    dispatcher.join(30)
    assert not dispatcher.is_alive()
    """
    )


@needs_fork
def test_a_new_dispatcher_works_in_a_forked_child() -> None:
    """With new participants, through a whole session, and the child exits by itself."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        log = Log()
        with Dispatcher() as new:
            new.register_result_producer(Site(), 't', start=True)
            new.register_result_listener(log, 't', start=True)
            assert new.send_request('t', 5, ttl=None).results(30) == [(5,)]
        assert log.heard == [(5,)], log.heard

    in_child(check)

    # Through the ordinary end of the interpreter as well.
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        gate.set()
    else:
        new = Dispatcher()
        new.register_result_producer(Site(), 't', start=True)
        new.start()
        assert new.send_request('t', 6, ttl=None).results(30) == [(6,)]
    """
    )


@needs_fork
def test_a_participant_copied_by_a_fork_has_no_thread() -> None:
    """Registered with a new dispatcher in the child it is refused, as any whose thread ended."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        from ate_dispatcher.errors import BadValue
        with Dispatcher() as new:
            try:
                new.register_result_producer(site, 't')
            except BadValue as error:
                assert 'has ended' in str(error), error
            else:
                raise AssertionError('not refused')
            new.register_result_producer(Site(), 't', start=True)
            assert new.send_request('t', 5, ttl=None).results(5) == [(5,)]

    in_child(check)
    gate.set()
    """
    )


@needs_fork
def test_a_done_callback_in_a_forked_child_is_called() -> None:
    """For a handle whose dispatcher is a stopped copy it comes at once."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        called = threading.Event()
        handles[0].add_done_callback(lambda handle: called.set())
        assert called.wait(5)

    in_child(check)
    gate.set()
    """
    )


@needs_fork
def test_a_forked_child_runs_no_code_that_was_left_to_the_parent() -> None:
    """Callbacks and hooks that waited their turn as it forked; also at the child's own exit."""
    silent(
        CAST
        + """
    import os, warnings
    warnings.simplefilter('ignore', DeprecationWarning)

    gate, entered, parent = threading.Event(), threading.Event(), os.getpid()

    class Gated(Site):
        def produce_dispatcher_output(self, topic):
            gate.wait(30)

    def says(what):
        if os.getpid() != parent:
            print(what, 'in the child', flush=True)

    def hook(event):
        says('a hook')
        entered.set()
        gate.wait(30)

    dispatcher = Dispatcher(hooks=[hook])
    dispatcher.register_result_producer(Site(), 't', start=True)
    dispatcher.register_result_producer(Gated(), 'gated', start=True)
    dispatcher.start()
    over = dispatcher.send_request('t', ttl=None)
    assert over.wait(30) and entered.wait(30)
    still_open = dispatcher.send_request('gated', ttl=None)
    for handle in (over, still_open):
        handle.add_done_callback(lambda handle: says('a callback'))
    child = os.fork()
    if child == 0:
        gate.set()
        dispatcher.stop()
        assert still_open.done()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    gate.set()
    """
    )
