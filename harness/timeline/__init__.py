"""The timeline of a testbed, merged from all nodes and components (class Timeline); docs/timeline.md describes it.

recording.py collects the logs, or reads them from a folder of artifacts; components.py, node_logs.py, chain.py and
testbed_actions.py turn them into events; story.py merges these. text.py, page.py and compare.py show a story.
"""
