"""Sites of other people's packages, moved in by the docs alone: does their mail arrive by each door?"""
