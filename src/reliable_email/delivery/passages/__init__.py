"""One message's passage over its routes, computed and never sent: whom to ask next, what becomes of each recipient.

`passage` is the whole and decides the next sends; `admission` asks which routes may have a send now, `judging` what a
finished transaction means for each recipient, and `progress` keeps what is known so far.
"""
