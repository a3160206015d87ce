"""Chat state: what all processes that talk to a chat must know, kept in the database by name and instant."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, select, update

from smart_tuner.store.tables import CHATS, INSERTS, instant


class ChatState:
    """Values that JSON can hold. Everything raises what the database raises.

    Args:
        now: the instant, in seconds, as the database knows it.
    """

    def __init__(self, engine: Engine, now: Callable[[], ColumnElement[float]] | None = None) -> None:
        self._engine = engine
        self._now = now or (lambda: instant(engine))

    def get(self, name: str) -> Any:
        """The value of a name; None where there is none."""
        query = select(CHATS.c.value).where(CHATS.c.name == name)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def age(self, name: str) -> float | None:
        """Seconds since it was noted."""
        query = select(self._now() - CHATS.c.at).where(CHATS.c.name == name)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def all(self, start: str) -> dict[str, Any]:
        """All values whose names begin with `start`, by what follows it."""
        query = select(CHATS.c.name, CHATS.c.value).where(CHATS.c.name.startswith(start, autoescape=True))
        with self._engine.connect() as connection:
            return {name.removeprefix(start): value for name, value in connection.execute(query)}

    def note(self, name: str, value: Any) -> None:
        insert = self._insert(name, value)
        changed = {"value": insert.excluded.value, "at": insert.excluded.at}
        with self._engine.begin() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=changed))

    def once(self, name: str, value: Any = True) -> bool:
        """Note a value unless the name has one; whether it had none."""
        inserted = self._insert(name, value).on_conflict_do_nothing().returning(CHATS.c.name)
        with self._engine.begin() as connection:
            return connection.execute(inserted).first() is not None

    def take(self, name: str) -> Any:
        """Return a value and forget it: of several processes that ask, one gets it."""
        with self._engine.begin() as connection:
            found = connection.execute(select(CHATS.c.value).where(CHATS.c.name == name)).scalar()
            gone = connection.execute(delete(CHATS).where(CHATS.c.name == name)).rowcount
        return found if gone else None

    def add(self, name: str) -> None:
        """Add one to a count."""
        with self._engine.begin() as connection:
            connection.execute(self._insert(name, 0).on_conflict_do_nothing())
            locked = select(CHATS.c.value).where(CHATS.c.name == name).with_for_update()
            count = connection.execute(locked).scalar_one()
            connection.execute(update(CHATS).where(CHATS.c.name == name).values(value=count + 1))

    def hold(self, name: str, owner: str, seconds: float) -> bool:
        """Whether `owner` has it from now on for so long; nobody else can have it meanwhile."""
        with self._engine.begin() as connection:
            connection.execute(self._insert(name, "").on_conflict_do_nothing())
            over = CHATS.c.at < self._now()
            locked = select(CHATS.c.value, over).where(CHATS.c.name == name).with_for_update()
            holder, is_over = connection.execute(locked).one()
            if holder not in ("", owner) and not is_over:
                return False
            mine = {"value": owner, "at": self._now() + seconds}
            connection.execute(update(CHATS).where(CHATS.c.name == name).values(**mine))
            return True

    def forget(self, start: str, seconds: float) -> None:
        """Forget values whose names begin with `start` and that are older than `seconds`."""
        old = CHATS.c.name.startswith(start, autoescape=True), CHATS.c.at < self._now() - seconds
        with self._engine.begin() as connection:
            connection.execute(delete(CHATS).where(*old))

    def _insert(self, name: str, value: Any) -> Any:
        return INSERTS[self._engine.dialect.name](CHATS).values(name=name, value=value, at=self._now())
