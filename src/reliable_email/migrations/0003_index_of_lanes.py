"""The index by which workers claim, made beside the old one while the queue is in use."""

from django.db import migrations, models

from reliable_email.migrations._steps import AddIndexBeside, RemoveIndexBeside


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("reliable_email", "0002_tables_of_lanes_accounts_and_reports")]

    operations = [
        AddIndexBeside(
            model_name="outboxrecipient",
            index=models.Index(fields=["priority", "lane", "due_at", "id"], name="rel_email_rcpt_lane"),
        ),
        RemoveIndexBeside(model_name="outboxrecipient", name="rel_email_rcpt_due"),
    ]
