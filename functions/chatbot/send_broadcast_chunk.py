from chatbot import broadcast_runs, tables
from chatbot.broadcasts import CHUNKS
from kernel.grants import decrypt, encrypt, read, sign, write
from kernel.jobs import worker

# What a conversation that is started may need; what an event of a user needs besides is no part of it.
READ = (
    tables.AccountTable, tables.BroadcastTable, tables.ChunkTable, tables.ConversationTable, tables.TurnTable,
    tables.ScenarioTable, tables.ScenarioVersionTable, tables.SegmentTable, tables.MemberTable, tables.NameTable,
    tables.PushTable, tables.FormTable, tables.IconTable, tables.ChannelTokenTable,
)  # fmt: skip
WRITTEN = (
    tables.BroadcastTable, tables.ChunkTable, tables.RecipientTable, tables.ConversationTable, tables.TurnTable,
    tables.UserTable, tables.PushTable, tables.FormEntryTable, tables.CorsErrorTable, tables.DueTable,
    tables.ChannelTokenTable,
)  # fmt: skip


@worker(CHUNKS, uses=[*map(read, READ), *map(write, WRITTEN), encrypt(), decrypt(), sign()], timeout=240)
def send_broadcast_chunk(message: broadcast_runs.ChunkMessage) -> None:
    """Send a broadcast to the people of one chunk, each once, and count them."""
    broadcast_runs.send_chunk(message)
