"""The pages: `path("mail/", include("reliable_email.urls"))`."""

from django.urls import URLPattern, URLResolver, path

from reliable_email.views.acting import act
from reliable_email.views.health import health, live
from reliable_email.views.holding import release_hold
from reliable_email.views.metrics import metrics
from reliable_email.views.pages.content import attachment, content, html, source
from reliable_email.views.pages.failures import failures_page
from reliable_email.views.pages.message import message
from reliable_email.views.pages.messages import messages
from reliable_email.views.pages.overview import overview
from reliable_email.views.pages.people import erase_person, export_person, people
from reliable_email.views.pages.record import record_page
from reliable_email.views.pages.routes import act_on_route, routes
from reliable_email.views.pages.suppressions import allow_address, suppress_address, suppressions_page
from reliable_email.views.pages.workers import workers_page

app_name = "reliable_email"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", overview, name="overview"),
    path("messages/", messages, name="messages"),
    path("messages/act/", act, name="act"),
    path("messages/<int:number>/", message, name="message"),
    path("messages/<int:number>/content/", content, name="content"),
    path("messages/<int:number>/content/html/", html, name="html"),
    path("messages/<int:number>/content/source/", source, name="source"),
    path("messages/<int:number>/content/<int:part>/", attachment, name="attachment"),
    path("messages/release/", release_hold, name="release_hold"),
    path("routes/", routes, name="routes"),
    path("routes/act/", act_on_route, name="act_on_route"),
    path("failures/", failures_page, name="failures"),
    path("workers/", workers_page, name="workers"),
    path("suppressions/", suppressions_page, name="suppressions"),
    path("suppressions/add/", suppress_address, name="suppress_address"),
    path("suppressions/remove/", allow_address, name="allow_address"),
    path("people/", people, name="people"),
    path("people/export/", export_person, name="export_person"),
    path("people/erase/", erase_person, name="erase_person"),
    path("record/", record_page, name="record"),
    # For monitors.
    path("live/", live, name="live"),
    path("health/", health, name="health"),
    path("metrics/", metrics, name="metrics"),
]
