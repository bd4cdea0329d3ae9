"""A guest book in one file of Django: a page with a form, a template and a database, by WSGI."""

import os
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "guestbook.sqlite"}},
    DEBUG=False,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "this one is for a look at it only"),
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).parent / "templates"],
            "OPTIONS": {"context_processors": ["django.template.context_processors.csrf"]},
        }
    ],
)
application = get_wsgi_application()

with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, name TEXT, text TEXT)")
connection.close()


def book(request: HttpRequest) -> HttpResponse:
    """What guests have written, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, text FROM entry ORDER BY id DESC LIMIT 50")
        entries = [{"name": name, "text": text} for name, text in cursor.fetchall()]
    return render(request, "book.html", {"entries": entries})


def write(request: HttpRequest) -> HttpResponse:
    name, text = request.POST.get("name", "").strip(), request.POST.get("text", "").strip()
    if name and text:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO entry (name, text) VALUES (%s, %s)", [name, text])
    return redirect("/")


urlpatterns = [path("", book), path("write", write)]
