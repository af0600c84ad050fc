"""What a server tells of itself, by both clients."""


async def test_the_limits_tell_life_forks_and_operations(client):
    async with client.open("count") as session:
        limits = session.limits
    assert (limits.max_frame_operations, limits.max_life_s, limits.max_forks) == (16, 3600, 3)


async def test_costs_come_with_the_description_alone(client):
    costs = (await client.describe("count")).costs
    assert [run.measured for run in costs.runs] == [True, True, True, False]
    assert (costs.runs[3].run_us, costs.runs[3].step_us) == (3200, 100)
    assert (costs.max_rows, costs.alone_block_steps, costs.full_block_steps) == (4, 8, 2)
    assert (await client.describe("pair")).costs is None
    assert all(model.costs is None for model in (await client.models()).ready)


async def test_an_audit_tells_what_is_wrong_and_how_much_there_is(client, fake):
    fake.problems = ["slot 3 has two sessions"]
    async with client.open("count"):
        audit = await client.audit()
    assert audit.problems == ("slot 3 has two sessions",)
    assert (audit.sessions, audit.waiting_steps, audit.waiting_bytes) == (1, 5, 40)
    assert audit.generations == 0
