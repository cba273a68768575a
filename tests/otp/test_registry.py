"""Registries: names of one process, groups of many, and addresses that outlive both."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from alloy import otp
from otp.servers import Do, Echo, Worker, alone, child, crashes, ends, seen, settle, system, worker


def does(function: Any, *args: Any, **kwargs: Any) -> Do:
    """Call a synchronous function inside the process."""

    async def act(server: Worker) -> Any:
        return function(*args, **kwargs)

    return Do(act)


def pair() -> Any:
    return system(worker("a", restart="temporary"), worker("b", restart="temporary"))


async def test_a_registered_name_is_looked_up_with_its_value(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with alone() as ref:
        await otp.call(ref, does(registry.register, "name", {"some": "value"}))

        assert registry.lookup("name") == ((ref, {"some": "value"}),)
        assert registry.lookup("another") == ()
        assert registry.keys(ref) == ("name",)
        assert registry.count() == 1


@pytest.mark.parametrize("second", ["a", "b"])
async def test_a_unique_name_has_one_owner(autojump_clock: MockClock, second: str) -> None:
    registry = otp.Registry()
    async with pair() as root:
        a = await child(root, "a")
        await otp.call(a, does(registry.register, "name"))

        async def again(server: Worker) -> Any:
            with pytest.raises(otp.AlreadyRegistered) as caught:
                registry.register("name")
            return caught.value.key, caught.value.ref

        assert await otp.call(await child(root, second), Do(again)) == ("name", a)
        assert registry.count() == 1


async def test_a_name_is_free_when_its_owner_has_ended(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(a, does(registry.register, "name"))
        await otp.call(a, does(registry.register, "second name"))
        otp.exit(a, otp.Killed())
        await otp.wait_down(a)

        assert registry.count() == 0
        await otp.call(b, does(registry.register, "name"))
        assert registry.lookup("name") == ((b, None),)


async def test_keys_compare_by_type_and_value(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    keys: tuple[Any, ...] = (1, 1.0, True, "1", (1,), (1.0,))
    async with alone() as ref:
        for key in keys:
            await otp.call(ref, does(registry.register, key, repr(key)))

        assert [registry.lookup(key)[0][1] for key in keys] == [repr(key) for key in keys]
        assert [repr(key) for key in registry.keys(ref)] == [repr(key) for key in keys]


async def test_a_name_can_be_given_up_and_giving_up_what_one_has_not_is_no_error(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(a, does(registry.register, "name"))
        await otp.call(b, does(registry.unregister, "name"))
        assert registry.lookup("name") == ((a, None),)

        await otp.call(a, does(registry.unregister, "name"))
        await otp.call(a, does(registry.unregister, "name"))
        assert registry.lookup("name") == ()


async def test_registries_are_independent(autojump_clock: MockClock) -> None:
    one, two = otp.Registry(), otp.Registry()
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(a, does(one.register, "name"))
        await otp.call(b, does(two.register, "name"))

        assert one.lookup("name")[0][0] == a
        assert two.lookup("name")[0][0] == b


async def test_another_may_be_registered_from_anywhere(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with alone() as ref:
        registry.register("name", 1, ref=ref)
        assert registry.lookup("name") == ((ref, 1),)

        registry.unregister("name", ref=ref)
        assert registry.lookup("name") == ()


async def test_whoever_registers_itself_must_be_a_process(autojump_clock: MockClock) -> None:
    with pytest.raises(RuntimeError):
        otp.Registry().register("name")


async def test_a_value_is_updated_by_its_owner(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(a, does(registry.register, "name", 1))

        assert await otp.call(a, does(registry.update_value, "name", lambda value: value + 1)) == (2, 1)
        assert registry.lookup("name") == ((a, 2),)

        async def meddle(server: Worker) -> None:
            with pytest.raises(KeyError):
                registry.update_value("name", lambda value: 0)

        await otp.call(b, Do(meddle))
        assert registry.lookup("name") == ((a, 2),)


# addresses


async def test_an_address_can_be_called_cast_and_sent_to(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with alone() as ref:
        via = registry.via("name")
        assert via.whereis() is None
        await otp.call(ref, does(registry.register, "name"))
        await otp.cast(via, "cast")
        otp.send(via, "sent")

        assert via.whereis() == ref
        assert await otp.call(via, Echo(1)) == 1
        assert await seen(ref) == ["cast", "sent"]


async def test_an_address_is_resolved_at_each_use(autojump_clock: MockClock) -> None:
    registry = otp.Registry()

    async def init(server: Worker) -> None:
        registry.register("name")

    async with system(worker("a", init=init)) as root:
        via, first = registry.via("name"), await child(root, "a")
        await ends(first, crashes())

        assert via.whereis() == await child(root, "a")
        assert via.whereis() != first


def test_addresses_are_values() -> None:
    registry = otp.Registry()

    assert registry.via("name") == registry.via("name")
    assert registry.via("name") == otp.Via(registry, "name")
    assert registry.via("name") != registry.via("other")
    assert registry.via("name") != otp.Registry().via("name")


# many under one key


async def test_a_group_has_many_members_and_one_member_may_join_twice(autojump_clock: MockClock) -> None:
    group = otp.Registry(unique=False)
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        for ref, value in ((a, 1), (a, 2), (b, 3)):
            await otp.call(ref, does(group.register, "key", value))

        assert sorted(group.lookup("key"), key=lambda entry: entry[1]) == [(a, 1), (a, 2), (b, 3)]
        assert group.count() == 3


async def test_leaving_a_group_removes_one_entry(autojump_clock: MockClock) -> None:
    group = otp.Registry(unique=False)
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        for ref in (a, a, b):
            await otp.call(ref, does(group.register, "key"))
        await otp.call(a, does(group.unregister, "key"))

        assert sorted(ref.label for ref, _ in group.lookup("key")) == ["a", "b"]


async def test_death_leaves_all_groups(autojump_clock: MockClock) -> None:
    group = otp.Registry(unique=False)
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        for key in (1, 2, 2):
            await otp.call(a, does(group.register, key))
        await otp.call(b, does(group.register, 2))
        await ends(a, crashes())

        assert group.lookup(1) == ()
        assert group.lookup(2) == ((b, None),)
        assert group.count() == 1


# who joins and leaves


async def test_a_monitor_of_a_key_hears_who_joins_and_who_leaves(autojump_clock: MockClock) -> None:
    registry = otp.Registry(unique=False)
    async with system(*(worker(name, restart="temporary") for name in "abc")) as root:
        a, b, watcher = [await child(root, name) for name in "abc"]
        await otp.call(a, does(registry.register, "key", "before"))

        async def watch(server: Worker) -> Any:
            return registry.monitor("key"), registry.lookup("key")

        monitor, members = await otp.call(watcher, Do(watch))
        await otp.call(b, does(registry.register, "key", "after"))
        await otp.call(b, does(registry.register, "another key"))
        await otp.call(b, does(registry.unregister, "key"))
        await ends(a, crashes())
        await settle()

        assert members == ((a, "before"),)
        assert await seen(watcher) == [
            otp.Joined(monitor, "key", b, "after"),
            otp.Left(monitor, "key", b, "after"),
            otp.Left(monitor, "key", a, "before"),
        ]


async def test_a_monitor_of_the_whole_registry_hears_of_every_key(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with pair() as root:
        a, watcher = await child(root, "a"), await child(root, "b")
        await otp.call(watcher, does(registry.monitor))
        for key in (1, "two"):
            await otp.call(a, does(registry.register, key))
        otp.exit(a, otp.Killed())
        await otp.wait_down(a)

        events = await seen(watcher)
        assert [(type(event), event.key) for event in events[:2]] == [(otp.Joined, 1), (otp.Joined, "two")]
        assert {event.ref for event in events} == {a}
        assert {(type(event), event.key) for event in events[2:]} == {(otp.Left, 1), (otp.Left, "two")}
