"""No-op jobs through procrastinate, from deferring to their end. Arguments: DSN JOBS CONCURRENCY. Prints seconds."""

import asyncio
import logging
import sys
import time

import procrastinate


async def noop(n: int) -> None:
    del n


async def main(dsn: str, jobs: int, concurrency: int) -> None:
    logging.getLogger("procrastinate").setLevel(
        logging.ERROR
    )  # it warns at each start that its app is in the main module
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, max_size=concurrency))
    task = app.task(name="noop")(noop)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        began = time.perf_counter()
        worker = asyncio.create_task(
            app.run_worker_async(concurrency=concurrency, wait=True, install_signal_handlers=False)
        )
        slots = asyncio.Semaphore(concurrency)

        async def defer(n: int) -> None:
            async with slots:
                await task.defer_async(n=n)

        await asyncio.gather(*[defer(n) for n in range(jobs)])
        while True:
            rows = await app.connector.execute_query_all_async(
                "SELECT count(*) AS done FROM procrastinate_jobs WHERE status = 'succeeded'"
            )
            if rows[0]["done"] == jobs:
                break
            await asyncio.sleep(0.02)
        print(time.perf_counter() - began)
        worker.cancel()
        await asyncio.wait([worker])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
