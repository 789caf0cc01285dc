"""The agent core: runs, tools, the event journal, and the door to engines. Knows no Qt."""
