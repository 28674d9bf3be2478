"""A shop with django-oscar, as its documentation has the settings: sign-up, reset, order, stock alert, error mail."""

import sys
from decimal import Decimal
from typing import Any

from oscar import INSTALLED_APPS as OSCAR
from oscar.defaults import *  # noqa: F403

from tools.sites_trial.site import send_newsletter, trial

WANTED = (
    "Thank you for registering",
    "Resetting your password",
    "Confirmation of order",
    "is back in stock",
    "News of the week",
    "Internal Server Error",
)
SITE: dict[str, Any] = {name: value for name, value in list(globals().items()) if name.startswith("OSCAR_")} | {
    "ROOT_URLCONF": "tools.sites_trial.oscar_urls",
    "INSTALLED_APPS": [*OSCAR, "reliable_email"],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
        "oscar.apps.basket.middleware.BasketMiddleware",
    ],
    "AUTHENTICATION_BACKENDS": [
        "oscar.apps.customer.auth_backends.EmailBackend",
        "django.contrib.auth.backends.ModelBackend",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                    "oscar.apps.search.context_processors.search_form",
                    "oscar.apps.checkout.context_processors.checkout",
                    "oscar.apps.communication.notifications.context_processors.notifications",
                    "oscar.core.context_processors.metadata",
                ]
            },
        }
    ],
    "HAYSTACK_CONNECTIONS": {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}},
}
PASSWORD = "Correct-horse-9-battery"
NEWCOMER = "visitor@example.net"


def visit() -> None:
    """Register, forget the password, order, be told of stock, break a page."""
    from django.test import Client

    client = Client(raise_request_exception=False)
    fields = {"email": NEWCOMER, "password1": PASSWORD, "password2": PASSWORD}
    answer = client.post(
        "/accounts/login/",
        {f"registration-{name}": value for name, value in fields.items()} | {"registration_submit": "x"},
    )
    assert answer.status_code == 302, answer.content
    Client().post("/password-reset/", {"email": NEWCOMER})
    product, stock = _product()
    client.post(f"/basket/add/{product.pk}/", {"quantity": 1})
    address = {
        "first_name": "Ann",
        "last_name": "Lee",
        "line1": "Road 1",
        "line4": "Town",
        "postcode": "N1 7AA",
        "country": "GB",
    }
    answer = client.post("/checkout/shipping-address/", address)
    assert answer.status_code == 302, answer.content
    client.get("/checkout/shipping-method/")
    client.get("/checkout/payment-method/")
    answer = client.post("/checkout/preview/", {"action": "place_order"})
    assert answer.status_code == 302, answer.content
    _back_in_stock(product, stock)
    send_newsletter()
    assert client.get("/broken/").status_code == 500


def _product() -> tuple[Any, Any]:
    from oscar.core.loading import get_model

    get_model("address", "Country").objects.create(
        iso_3166_1_a2="GB", name="UK", printable_name="UK", is_shipping_country=True
    )
    kind = get_model("catalogue", "ProductClass").objects.create(name="Book", requires_shipping=True)
    product = get_model("catalogue", "Product").objects.create(title="Grüner Tee", product_class=kind, slug="tea")
    partner = get_model("partner", "Partner").objects.create(name="Partner")
    stock = get_model("partner", "StockRecord").objects.create(
        product=product, partner=partner, partner_sku="1", price=Decimal(9), num_in_stock=5
    )
    return product, stock


def _back_in_stock(product: Any, stock: Any) -> None:
    """Somebody waits for it; it is sold out, and then there is more."""
    from oscar.core.loading import get_class, get_model

    get_model("customer", "ProductAlert").objects.create(product=product, email="waiting@example.net").confirm()
    stock.refresh_from_db()
    stock.num_in_stock = 20
    stock.save()
    get_class("customer.alerts.utils", "AlertsDispatcher")().send_product_alert_email_for_user(product)


if __name__ == "__main__":
    raise SystemExit(trial("django-oscar", sys.argv[1], WANTED, visit, count=8, site=SITE))
