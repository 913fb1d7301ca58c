"""Faults as they happen to people: processes killed, servers gone, locks held, disks full. Each is mended or said."""
