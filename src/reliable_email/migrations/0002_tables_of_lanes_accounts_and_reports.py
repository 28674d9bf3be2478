"""Columns and tables for lanes, accounts, streams, parts, handlers and what comes back; instants in UTC.

Safe on a live queue: every column may be NULL or has a default that the database keeps, so that no row is written and
processes of the earlier version go on inserting. Sites without USE_TZ on SQLite, MySQL or MariaDB stop their workers
and web processes first, since their instants are written anew.

Each operation is a transaction of its own: in one for all, a lock on one table would be held while the next is waited
for, and a worker that uses both in the other order would be in a deadlock with it. So an interrupted migration leaves
part of its work, and each operation looks whether it was done.
"""

import django.db.models.deletion
from django.db import migrations, models

from reliable_email.migrations._steps import (
    AddColumn,
    AddConstraintOnce,
    AddFieldOnce,
    AddIndexOnce,
    AlterUnique,
    CreateTable,
    instants_to_utc,
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("reliable_email", "0001_initial"),
    ]

    operations = [
        CreateTable(
            name="HandlerEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("handler", models.CharField(help_text="Its dotted path.", max_length=255)),
                ("kind", models.CharField(help_text="outcome, bounce, complaint, unsubscription.", max_length=32)),
                (
                    "message_id",
                    models.BigIntegerField(
                        help_text="Of the outbox's message, which may be pruned by then.", null=True
                    ),
                ),
                ("position", models.PositiveIntegerField(help_text="The recipient's.", null=True)),
                ("detail", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(help_text="NULL where it waits for a person.", null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("error", models.TextField(blank=True, help_text="What the handler raised last.")),
            ],
        ),
        CreateTable(
            name="IncomingHold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "mailer",
                    models.CharField(blank=True, help_text="The application's or the delivering one.", max_length=100),
                ),
                ("account", models.CharField(blank=True, max_length=100)),
                ("stream", models.CharField(blank=True, max_length=100)),
                ("priority", models.SmallIntegerField(choices=[(0, "high"), (1, "normal"), (2, "bulk")], null=True)),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
            ],
        ),
        CreateTable(
            name="LearnedLimit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("host", models.CharField(max_length=255)),
                ("port", models.PositiveIntegerField()),
                ("name", models.CharField(help_text="Of what: chaining, messages_per_connection …", max_length=32)),
                ("value", models.BigIntegerField(default=0, help_text="The limit; 0 for not at all.")),
                ("evidence", models.TextField(blank=True)),
                ("noted_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
            ],
        ),
        CreateTable(
            name="Opening",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("route", models.CharField(max_length=100)),
                ("account", models.CharField(blank=True, db_default="", default="", max_length=100)),
                ("number", models.PositiveBigIntegerField()),
                ("reason", models.CharField(blank=True, max_length=32)),
                ("evidence", models.TextField(blank=True)),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(help_text="In use again; NULL while it is not.", null=True)),
                ("failed_probes", models.PositiveIntegerField(default=0)),
            ],
        ),
        CreateTable(
            name="Part",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("environment", models.CharField(max_length=64)),
                (
                    "encryption_key",
                    models.CharField(blank=True, help_text="Fingerprint of the key; empty for none.", max_length=16),
                ),
                (
                    "digest",
                    models.CharField(help_text="Of the bytes; an HMAC where they are encrypted.", max_length=64),
                ),
                ("content", models.BinaryField()),
                ("content_size", models.PositiveBigIntegerField()),
                ("created_at", models.DateTimeField()),
                ("touched_at", models.DateTimeField(help_text="When a message last referred to it.")),
            ],
        ),
        CreateTable(
            name="PartReference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField(help_text="Its place among the message's parts.")),
                ("offset", models.PositiveBigIntegerField(help_text="The byte of `content` before which it stands.")),
            ],
        ),
        AddColumn(
            model_name="attempt",
            name="dialogue",
            field=models.TextField(
                help_text="What was said on the wire, secrets left out; encrypted where the content is.", null=True
            ),
        ),
        AddColumn(
            model_name="outboxmessage",
            name="account",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Whose routes deliver it; empty: the site's.",
                max_length=100,
            ),
        ),
        AddColumn(
            model_name="outboxmessage",
            name="assembled_digest",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Of the whole, where parts of the content are stored apart; verified before it is sent.",
                max_length=64,
            ),
        ),
        AddColumn(
            model_name="outboxmessage",
            name="entry_mailer",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="The alias that the application used.", max_length=100
            ),
        ),
        AddColumn(
            model_name="outboxmessage",
            name="stream",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="What a recipient unsubscribes from.", max_length=100
            ),
        ),
        AddColumn(
            model_name="outboxrecipient",
            name="bounced_at",
            field=models.DateTimeField(null=True),
        ),
        AddColumn(
            model_name="outboxrecipient",
            name="complained_at",
            field=models.DateTimeField(null=True),
        ),
        AddColumn(
            model_name="outboxrecipient",
            name="erasing_at",
            field=models.DateTimeField(help_text="A person is to be forgotten as soon as this is settled.", null=True),
        ),
        AddColumn(
            model_name="outboxrecipient",
            name="identity_version",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="By which rules `address` was made one spelling."
            ),
        ),
        AddColumn(
            model_name="outboxrecipient",
            name="lane",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="Of mailer and account; 0 before there were lanes."
            ),
        ),
        AddColumn(
            model_name="outboxrecipient",
            name="return_token",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="In the return path, for what comes back.",
                max_length=64,
            ),
        ),
        AddColumn(
            model_name="providerevent",
            name="cause",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="What a refusal means.", max_length=32
            ),
        ),
        AddColumn(
            model_name="providerevent",
            name="reply_enhanced",
            field=models.CharField(blank=True, db_default="", default="", max_length=16),
        ),
        AddColumn(
            model_name="routestate",
            name="account",
            field=models.CharField(blank=True, db_default="", default="", max_length=100),
        ),
        AddColumn(
            model_name="suppression",
            name="digest_key",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Where `address` is a digest: whose key made it.",
                max_length=16,
            ),
        ),
        AddColumn(
            model_name="suppression",
            name="identity_version",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="By which rules `address` was made one spelling."
            ),
        ),
        AddColumn(
            model_name="suppression",
            name="stream",
            field=models.CharField(blank=True, db_default="", default="", help_text="Empty: all mail.", max_length=100),
        ),
        # Before the old ones go: in between, two processes could write what the new ones then refuse for ever.
        AddConstraintOnce(
            model_name="routestate",
            constraint=models.UniqueConstraint(fields=("alias", "account"), name="rel_email_route_alias"),
        ),
        AddConstraintOnce(
            model_name="suppression",
            constraint=models.UniqueConstraint(fields=("address", "stream"), name="rel_email_suppression_addr"),
        ),
        AlterUnique(
            model_name="routestate",
            name="alias",
            field=models.CharField(max_length=100),
        ),
        AlterUnique(
            model_name="suppression",
            name="address",
            field=models.CharField(
                help_text="addr-spec in lower case, or what is kept of an erased one.", max_length=320
            ),
        ),
        AddIndexOnce(
            model_name="handlerevent",
            index=models.Index(fields=["due_at", "id"], name="rel_email_handler_due"),
        ),
        AddConstraintOnce(
            model_name="learnedlimit",
            constraint=models.UniqueConstraint(fields=("host", "port", "name"), name="rel_email_learned_limit"),
        ),
        AddIndexOnce(
            model_name="opening",
            index=models.Index(fields=["opened_at"], name="rel_email_opening_at"),
        ),
        AddConstraintOnce(
            model_name="opening",
            constraint=models.UniqueConstraint(fields=("route", "account", "number"), name="rel_email_opening_number"),
        ),
        AddIndexOnce(
            model_name="part",
            index=models.Index(fields=["touched_at"], name="rel_email_part_touched"),
        ),
        AddConstraintOnce(
            model_name="part",
            constraint=models.UniqueConstraint(
                fields=("environment", "encryption_key", "digest"), name="rel_email_part_digest"
            ),
        ),
        AddFieldOnce(
            model_name="partreference",
            name="message",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="parts",
                to="reliable_email.outboxmessage",
            ),
        ),
        AddFieldOnce(
            model_name="partreference",
            name="part",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="references", to="reliable_email.part"
            ),
        ),
        AddConstraintOnce(
            model_name="partreference",
            constraint=models.UniqueConstraint(fields=("message", "position"), name="rel_email_part_position"),
        ),
        instants_to_utc(),
    ]
