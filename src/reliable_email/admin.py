"""Django's own admin over the tables: to look, and to requeue and cancel. What people do by these pages is recorded.

Of what a message says only the subject is shown here: content has a permission of its own, and pages that record each
reading. Rows are written by the outbox alone; only the suppression list is a person's to change.
"""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from reliable_email import conf
from reliable_email.backends.routes import all_mailers
from reliable_email.delivery.report import address_key, bare_address
from reliable_email.models import (
    Action,
    Attempt,
    OutboxMessage,
    OutboxRecipient,
    RouteState,
    Suppression,
    Worker,
)
from reliable_email.outbox.operations.operate import Act, note, perform
from reliable_email.store.questions.filters import Filter, outbox_database, stored_spellings
from reliable_email.store.questions.status import worker_condition
from reliable_email.store.questions.stories import message_ids
from reliable_email.store.questions.suppressions import shown_entry
from reliable_email.store.sql.clock import DatabaseNow, database_now
from reliable_email.store.sql.inserts import batched
from reliable_email.store.tables.states import PriorityRank, State
from reliable_email.templatetags.details import in_own_words
from reliable_email.templatetags.mail_words import plain, recipients, word
from reliable_email.templatetags.words import WORDS, verb_words
from reliable_email.values import masked, printable

_ACT = "reliable_email.act_on_outbox"
_COUNTED = 10_000
_FOUND = 1_000
_SUBJECT_CHARACTERS = 60


class _BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that counts no further than people turn pages."""

    @cached_property
    def count(self) -> int:
        """The number of rows, at most `_COUNTED`."""
        rows: Any = self.object_list
        return int(rows.order_by()[:_COUNTED].count())


class _WhereWritten:
    """Read rows from the database that is written, because a replica may lag behind."""

    def get_queryset(self, request: HttpRequest) -> Any:
        queryset: Any = super().get_queryset(request)  # type: ignore[misc]
        return queryset.using(outbox_database())


class _ReadOnly(_WhereWritten, admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows to look at."""

    show_full_result_count = False
    paginator = _BoundedPaginator
    actions: tuple[str, ...] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _Inline(_WhereWritten, admin.TabularInline):  # type: ignore[type-arg]
    """The rows of one message."""

    extra = 0
    can_delete = False
    show_change_link = False
    max_num = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("reliable_email.view_outboxmessage")

    @admin.display(description=_("said"))
    def said(self, row: OutboxRecipient | Attempt) -> str:
        """Code and status; the words themselves may be sealed, and are on the message's own page."""
        code = str(row.reply_code) if row.reply_code is not None else ""
        return " ".join(part for part in (code, row.reply_enhanced) if part) or printable(in_own_words(row.detail))

    @admin.display(description=_("address"))
    def to(self, row: OutboxRecipient) -> str:
        """The address, masked where the site wants that."""
        return _shown(row.address)

    @admin.display(description=_("state"))
    def standing(self, row: OutboxRecipient) -> str:
        """The state, in the words of the dashboard."""
        return word(row.state)

    @admin.display(description=_("stage"))
    def came_to(self, row: OutboxRecipient | Attempt) -> str:
        """The stage of SMTP, in words."""
        return plain(row.stage)

    @admin.display(description=_("cause"))
    def why(self, row: OutboxRecipient | Attempt) -> str:
        """The cause of the failure, in words."""
        return plain(row.cause)


def _shown(address: str) -> str:
    safe = printable(address)
    return masked(safe) if conf.get().mask_addresses else safe


class _Recipients(_Inline):
    model = OutboxRecipient
    fields = ("to", "standing", "due_at", "attempts", "route", "came_to", "why", "said", "settled_at")
    readonly_fields = ("to", "standing", "came_to", "why", "said")
    verbose_name_plural = _("recipients")


class _Attempts(_Inline):
    model = Attempt
    fields = ("finished_at", "route", "peer", "worker", "came_to", "seconds", "why", "said")
    readonly_fields = ("came_to", "why", "said")
    verbose_name_plural = _("attempts")


class _StateFilter(admin.SimpleListFilter):
    """Messages of which a recipient is in a state."""

    title = _("state of a recipient")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(one.value, str(WORDS[one.value])) for one in State]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if self.value() not in [one.value for one in State]:
            return queryset
        people = OutboxRecipient._base_manager.using(queryset.db).filter(message=OuterRef("pk"), state=self.value())
        return queryset.filter(Exists(people))


class _PriorityFilter(admin.SimpleListFilter):
    """Messages of a priority."""

    title = _("priority")
    parameter_name = "priority"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(rank.value), word(rank.priority.value)) for rank in PriorityRank]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        known = {str(rank.value): rank.value for rank in PriorityRank}
        return queryset.filter(priority=known[self.value() or ""]) if self.value() in known else queryset


class _MailerFilter(admin.SimpleListFilter):
    """Messages of a mailer in the settings: the one that the application used, or the one that delivers."""

    title = _("mailer")
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in all_mailers()]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        name = self.value()
        return queryset.filter(Q(mailer=name) | Q(entry_mailer=name)) if name else queryset


@admin.register(OutboxMessage)
class OutboxMessageAdmin(_ReadOnly):
    """Messages, with recipients and attempts, and a way to the dashboard's page of each."""

    list_display = (
        "id",
        "created_at",
        "to_whom",
        "states",
        "about",
        "mailer",
        "rank",
        "message_id",
        "on_dashboard",
    )
    list_filter = (_StateFilter, _PriorityFilter, _MailerFilter)
    search_fields = ("message_id",)  # shows the box; see `get_search_results`
    search_help_text = _("A whole Message-ID with its angle brackets, or a whole address")
    ordering = ("-id",)
    list_per_page = 50
    fields = (
        "on_dashboard",
        "message_id",
        "sender",
        "mailer",
        "environment",
        "rank",
        "created_at",
        "send_at",
        "expires_at",
        "content_size",
        "encryption_key",
        "on_unknown",
    )
    readonly_fields = ("on_dashboard", "rank")
    inlines = (_Recipients, _Attempts)
    actions = ("requeue", "cancel")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[OutboxMessage]":
        """Return messages without their content, with their first recipient, by the index of positions."""
        queryset: QuerySet[OutboxMessage] = super().get_queryset(request)
        people = OutboxRecipient._base_manager.using(queryset.db).filter(message=OuterRef("pk"))
        return queryset.defer("content", "headers", "fields").annotate(
            first_address=Subquery(people.filter(position=0).values("address")[:1]),
            first_state=Subquery(people.filter(position=0).values("state")[:1]),
            last_position=Subquery(people.order_by("-position").values("position")[:1]),
        )

    @admin.display(description=_("recipients"))
    def to_whom(self, row: Any) -> str:
        """The first, and how many others."""
        address = _shown(row.first_address or "")
        return f"{address} +{row.last_position:,}" if row.last_position else address

    @admin.display(description=_("state"))
    def states(self, row: Any) -> str:
        """The state of the first recipient; the message's page has the others."""
        state = str(WORDS.get(row.first_state, row.first_state or ""))
        return f"{state} …" if row.last_position else state

    @admin.display(description=_("priority"), ordering="priority")
    def rank(self, row: OutboxMessage) -> str:
        """The priority, in words."""
        return word(PriorityRank(row.priority).priority.value)

    @admin.display(description=_("subject"))
    def about(self, row: OutboxMessage) -> str:
        """The message's subject, unless it is encrypted."""
        subject = gettext("(encrypted)") if row.encryption_key and row.subject else printable(row.subject)
        return subject if len(subject) <= _SUBJECT_CHARACTERS else f"{subject[:_SUBJECT_CHARACTERS]}…"

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[OutboxMessage]", search_term: str
    ) -> "tuple[QuerySet[OutboxMessage], bool]":
        """Search by the indexes only: a search for a part would read the whole table."""
        term = search_term.strip()
        if not term:
            return queryset, False
        rows = OutboxRecipient._base_manager.using(queryset.db).filter(address__in=stored_spellings(term))
        rows = rows.order_by("-pk")
        ids = [*message_ids(term, queryset.db), *rows.values_list("message_id", flat=True)[:_FOUND]]
        return queryset.filter(pk__in=ids), False

    @admin.display(description=_("dashboard"))
    def on_dashboard(self, row: OutboxMessage) -> SafeString | str:
        """A link, where the project has the dashboard's pages."""
        try:
            return format_html('<a href="{}">{}</a>', reverse("reliable_email:message", args=[row.pk]), gettext("open"))
        except NoReverseMatch:
            return gettext("its URLs are not installed")

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may run the two actions."""
        return request.user.has_perm(_ACT)

    @admin.action(permissions=["act"], description=_("Requeue what is parked, rejected, expired or cancelled"))
    def requeue(self, request: HttpRequest, queryset: "QuerySet[OutboxMessage]") -> None:
        """Send again."""
        self._perform(request, queryset, Act.REQUEUE)

    @admin.action(permissions=["act"], description=_("Cancel what waits"))
    def cancel(self, request: HttpRequest, queryset: "QuerySet[OutboxMessage]") -> None:
        """Cancel the selected messages, as far as no server can have them yet."""
        self._perform(request, queryset, Act.CANCEL)

    def _perform(self, request: HttpRequest, queryset: "QuerySet[OutboxMessage]", act: Act) -> None:
        ids = tuple(queryset.values_list("pk", flat=True))
        if not ids:
            return
        # In parts: a database bounds what one statement names, and each statement of an act names all of its messages.
        count = sum(
            perform(
                act,
                Filter(ids=part),
                actor=request.user.get_username(),
                reason="by the admin, which asks for none",
                gives_up_after=timedelta(days=conf.get().expires_days),
            ).count
            for part in batched(ids, _COUNTED)
        )
        words = gettext("%(many)s requeued; recipients in other states were not changed.")
        if act is Act.CANCEL:
            words = gettext("%(many)s cancelled; recipients in other states were not changed.")
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, words % {"many": recipients(count)}, level)


@admin.register(RouteState)
class RouteStateAdmin(_ReadOnly):
    """The shared state of each route."""

    list_display = ("alias", "updated_at")
    fields = ("alias", "breaker", "ledger", "updated_at")
    ordering = ("alias",)


@admin.register(Worker)
class WorkerAdmin(_ReadOnly):
    """Workers, as they describe themselves."""

    list_display = ("name", "standing", "seen_at", "host", "pid", "connections", "settled", "environment", "started_at")
    fields = list_display
    ordering = ("-seen_at",)

    @admin.display(description=_("state"))
    def standing(self, row: Worker) -> str:
        """The state as the dashboard and the terminal have it: whoever died has said that it runs."""
        silent = database_now(row._state.db or outbox_database()) - row.seen_at
        return word(worker_condition(row, silent.total_seconds()))


@admin.register(Action)
class ActionAdmin(_ReadOnly):
    """The record of acts, with actors and reasons."""

    list_display = ("at", "actor", "done", "target", "count", "reason")
    fields = (*list_display, "detail")
    ordering = ("-id",)
    list_per_page = 50

    @admin.display(description=_("act"), ordering="verb")
    def done(self, row: Action) -> str:
        """The act, in the words of the dashboard."""
        return verb_words(row.verb)


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]
    """An address as the outbox compares it: in lower case, without spaces around it."""

    class Meta:
        model = Suppression
        fields = ("address", "reason", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "expires_at" in self.fields:
            self.fields["expires_at"].required = False
            self.fields["expires_at"].help_text = gettext("Empty: for ever.")

    def _get_validation_exclusions(self) -> set[str]:
        """The list for all mail is meant, and there an address stands once."""
        return super()._get_validation_exclusions() - {"stream"}  # type: ignore[misc,no-any-return]

    def clean_address(self) -> str:
        """The address that is stored."""
        address = bare_address(str(self.cleaned_data["address"]))
        local, _, domain = address.rpartition("@")
        if not local or not domain or any(character.isspace() for character in address):
            raise forms.ValidationError(gettext("That is not an address: write it as name@example.com."))
        return address_key(address)


@admin.register(Suppression)
class SuppressionAdmin(_WhereWritten, admin.ModelAdmin):  # type: ignore[type-arg]
    """The list of addresses to which nothing is sent."""

    form = SuppressionForm
    list_display = ("whom", "reason", "source", "created_at", "expires_at")
    search_fields = ("address__exact",)
    search_help_text = _("A whole address, in lower case")
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False
    paginator = _BoundedPaginator
    readonly_fields = ("source", "created_at")
    fields = ("address", "reason", "expires_at", "source", "created_at")

    @admin.display(description=_("address"), ordering="address")
    def whom(self, row: Suppression) -> str:
        """The address, masked where the site wants that; of an erased person there is none."""
        return shown_entry(row.address, row.digest_key) if row.digest_key else _shown(row.address)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the entry with the database's time, and record it."""
        if not change:
            obj.source = "by hand"
            obj.created_at = DatabaseNow()
        super().save_model(request, obj, form, change)
        obj.refresh_from_db(using=obj._state.db)
        self._note(request, "change_suppression" if change else "suppress", obj)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Send to it again, and record who wanted that."""
        super().delete_model(request, obj)
        self._note(request, "unsuppress", obj)

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[Model]") -> None:
        """Delete several rows, as `delete_model` deletes one."""
        gone: list[Any] = list(queryset)
        super().delete_queryset(request, queryset)
        for one in gone:
            self._note(request, "unsuppress", one)

    def _note(self, request: HttpRequest, verb: str, row: Any) -> None:
        note(verb, actor=request.user.get_username(), target=row.address, reason=row.reason, count=1)
