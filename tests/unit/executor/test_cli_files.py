"""What any CLI may keep in its home and in a workspace: folders, state, credentials, variables, by its own names."""

import pytest

from application.ports.provider_descriptions import CliFiles
from infrastructure.executor.workspace.agent_home import AgentHome
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.exclusions import Exclusions

FILES = CliFiles(
    links={".tool": "tool"},
    state_names={".tool": ("log", "*.db")},
    credential_files=("key.json",),
    environment={"TOOL_HOME": "tool/home"},
)


def test_its_folder_is_a_link_into_the_agents_data_and_its_variable_leads_there(tmp_path):
    workspace = tmp_path / "ws"
    workspace.mkdir()
    tree = ConfinedTree(str(workspace))
    home = AgentHome(tmp_path / "home", workspace, FILES)

    result = home.link(tree, ".agent_data")
    tree.close()

    assert result.linked == ("~/.tool",)
    assert (tmp_path / "home/.tool").readlink() == workspace / ".agent_data/tool"
    assert home.environment(".agent_data", {})["TOOL_HOME"] == str(workspace / ".agent_data/tool/home")


@pytest.mark.parametrize(
    ("path", "is_link", "left_out"),
    [
        (".tool", True, True),
        (".tool", False, False),
        (".tool/log/today", False, True),
        (".tool/state.db", False, True),
        (".tool/settings.json", False, False),
        ("src/.tool/log", False, False),
        (".agent_data/tool/key.json", False, True),
        ("src/key.json", False, False),
        (".claude/projects/p.jsonl", False, False),
    ],
)
def test_a_sync_leaves_out_its_state_and_credentials_alone(path, is_link, left_out):
    assert Exclusions(cli_files=FILES).leaves_out(path, is_link=is_link) is left_out
