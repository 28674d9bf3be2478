"""A module that cannot be imported, for a reason that is no ImportError."""

raise RuntimeError("this module wants a setting")
