"""Permissions of their own for erasure and export; no table changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("reliable_email", "0003_index_of_lanes")]

    operations = [
        migrations.AlterModelOptions(
            name="outboxmessage",
            options={
                "permissions": [
                    ("act_on_outbox", "Can requeue, cancel, hold and resolve messages, and pause routes"),
                    ("read_content", "Can read what messages say; each reading is recorded"),
                    ("erase_person", "Can erase what is stored of a person, for good"),
                    ("export_person", "Can export what is stored of a person, with read_content"),
                ]
            },
        ),
    ]
