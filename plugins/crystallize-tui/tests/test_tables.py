"""Tables and texts that are filled anew while they are looked at."""

from __future__ import annotations

from crystallize_tui.tables import LiveTable, LiveText
from textual.screen import Screen


async def shown_alone(ui, widget):
    """Show a widget on a screen that has nothing else, and return it."""
    await ui.app.push_screen(Screen())
    await ui.app.screen.mount(widget)
    await ui.settled()
    return widget


async def test_a_column_is_as_wide_as_what_is_filled_in_under_its_title(open_ui):
    async with open_ui() as ui:
        table = await shown_alone(ui, LiveTable("name", "second"))
        for name in ("a", "a much longer name", "b"):
            table.fill([(name, "x"), ("other", "y")])
            await ui.settled()
            title, first, *_ = ui.text.splitlines()
            assert title.index("second") == first.index("x") == 1 + max(len(name), len("other")) + 2


async def test_long_names_leave_room_for_the_numbers_beside_them_however_wide_the_table_is(open_ui):
    names = [f"learning_rate={rate},depth={depth},optimizer=adam" for rate in (0.1, 0.01) for depth in (2, 3)]
    rows = [(name, f"{place}.25 ± 0.5") for place, name in enumerate(names)]
    async with open_ui(size=(80, 24)) as ui:
        table = await shown_alone(ui, LiveTable("condition", "mean", names=1))
        table.fill(rows)
        await ui.settled()
        _, *lines = ui.text.splitlines()
        assert len({line.split()[0] for line in lines[:4]}) == 4
        assert all(line.index(row[1]) < 25 for line, row in zip(lines, rows, strict=False))
        await ui.pilot.resize_terminal(240, 24)
        await ui.until(names[-1])


async def test_a_text_that_is_there_already_is_not_laid_out_again(open_ui):
    async with open_ui() as ui:
        text = await shown_alone(ui, LiveText("first", markup=False))
        layouts = []
        ui.app.screen.screen_layout_refresh_signal.subscribe(text, layouts.append)
        text.update("[second]")
        await ui.settled()
        assert "[second]" in ui.text
        assert layouts
        layouts.clear()
        text.update("[second]")
        await ui.settled()
        assert not layouts
