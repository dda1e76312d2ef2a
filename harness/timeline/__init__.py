"""The story of a testbed: one merged account over all nodes and components. docs/timeline.md describes its parts.

recording.py gathers the logs, or reads them from a folder of artifacts; components.py, node_logs.py, chain.py and
actions.py make events of them; story.py merges these. text.py, page.py and compare.py show a story.
"""
