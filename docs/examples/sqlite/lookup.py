"""How much work does an index save a database?

Run it from anywhere: ``python docs/examples/sqlite/lookup.py``.
"""

from __future__ import annotations

import random
import sqlite3

from crystallize import Experiment, Pipeline, PipelineStep, Treatment, resource_factory

CUSTOMERS = 1_000
ORDERS = 20_000


def open_database(ctx):
    """Make a database of orders, in two tables of the same content; the one of them has an index."""
    database = sqlite3.connect(":memory:")
    draw = random.Random(1)  # the same orders in every worker
    orders = [(draw.randrange(CUSTOMERS), draw.randrange(1, 100)) for _ in range(ORDERS)]
    for table in ("orders", "indexed_orders"):
        database.execute(f"CREATE TABLE {table} (customer INTEGER, amount INTEGER)")
        database.executemany(f"INSERT INTO {table} VALUES (?, ?)", orders)
    database.execute("CREATE INDEX by_customer ON indexed_orders (customer)")
    return database


class TotalOfCustomer(PipelineStep):
    """Add up what a customer has ordered, and count the instructions that the database executes for it.

    Parameters
    ----------
    database : str
        The entry of the context that holds the connection.
    """

    def __init__(self, database="database"):
        self.database = database

    def __call__(self, customer, ctx):
        database, table = ctx[self.database], ctx["table"]
        instructions = 0

        def count():
            nonlocal instructions
            instructions += 1

        database.set_progress_handler(count, 1)
        (total,) = database.execute(
            f"SELECT total(amount) FROM {table} WHERE customer = ?", (customer,)
        ).fetchone()
        database.set_progress_handler(None, 1)
        return total, {"total": total, "instructions": instructions}

    @property
    def params(self):
        return {"database": self.database}


def draw_customer(ctx):
    """Draw one customer for each replicate: the same under both conditions."""
    return int(ctx.rng.integers(CUSTOMERS))


def main() -> None:
    experiment = Experiment(
        name="lookup",
        datasource=draw_customer,
        pipeline=Pipeline([TotalOfCustomer()]),
        initial_ctx={"database": resource_factory(open_database), "table": "orders"},
        treatments=[Treatment("index", {"table": "indexed_orders"})],
        execution={"strategy": "process", "max_workers": 2},
        seed=1,
    )
    result = experiment.run(replicates=100)
    result.raise_for_errors()
    print(result.summary())


if __name__ == "__main__":
    main()
