"""What processes know of a chat together, on both databases."""

import threading

import pytest
from sqlalchemy import literal

from smart_tuner.notify.telegram.state import ChatState


@pytest.fixture
def memory(engine, clock):
    return ChatState(engine, lambda: literal(clock[0]))


def test_what_is_noted_is_known_with_its_age(memory, clock):
    memory.note("a", {"x": [1, "ё"]})
    clock[0] += 7
    assert (memory.get("a"), memory.age("a")) == ({"x": [1, "ё"]}, 7.0)
    memory.note("a", 2)
    assert (memory.get("a"), memory.age("a")) == (2, 0.0)
    assert (memory.get("b"), memory.age("b")) == (None, None)


def test_the_database_s_clock_is_the_default(engine):
    memory = ChatState(engine)
    memory.note("a", 1)
    assert 0 <= memory.age("a") < 60


def test_once_is_once(memory):
    assert [memory.once("a"), memory.once("a"), memory.once("b")] == [True, False, True]
    assert memory.take("a") is True
    assert memory.once("a")


def test_what_is_taken_is_gone(memory):
    memory.note("a", 3)
    assert [memory.take("a"), memory.take("a"), memory.get("a")] == [3, None, None]


def test_names_that_begin_alike_are_found(memory):
    for name in ("x:a", "x:b", "xy", "x_"):
        memory.note(name, name)
    assert memory.all("x:") == {"a": "x:a", "b": "x:b"}


def test_a_place_is_held_by_one(memory, clock):
    assert [memory.hold("p", "one", 60), memory.hold("p", "two", 60)] == [True, False]
    clock[0] += 59
    assert memory.hold("p", "one", 60)
    clock[0] += 59
    assert not memory.hold("p", "two", 60)
    clock[0] += 2
    assert memory.hold("p", "two", 60)
    assert not memory.hold("p", "one", 60)


@pytest.mark.parametrize("operation", ["add", "once", "take", "hold"])
def test_of_several_at_a_time_each_counts(engine, operation):
    memory = ChatState(engine)
    memory.note("taken", 1)
    start, found = threading.Barrier(4), []

    def act(number):
        start.wait()
        if operation == "add":
            for _ in range(5):
                memory.add("n")
        elif operation == "hold":
            found.append(memory.hold("p", f"owner {number}", 60))
        else:
            found.append(memory.once("first") if operation == "once" else memory.take("taken"))

    threads = [threading.Thread(target=act, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if operation == "add":
        assert memory.get("n") == 20
    else:
        assert sum(bool(one) for one in found) == 1
