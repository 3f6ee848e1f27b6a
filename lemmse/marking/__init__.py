"""Marking what students hand in: ``python -m lemmse mark FOLDER``.

Every notebook runs in a process of its own (``worker``), which ``handin`` starts and watches;
``folder`` goes through the students and keeps what it finds, ``report`` writes it down.
"""
