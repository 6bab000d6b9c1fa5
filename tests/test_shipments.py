"""SHIPMENTS: what a hub lacks is read in the order of ids, and a hub that lies is not believed."""
