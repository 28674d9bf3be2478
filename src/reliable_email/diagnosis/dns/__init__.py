"""The DNS of a sender's domain: SPF, DKIM, DMARC, MX. `examination` is the door, for `test_email --dns`."""
