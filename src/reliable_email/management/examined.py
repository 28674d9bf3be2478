"""The JSON of `test_email`: its keys are stable."""

from typing import Any

from reliable_email.diagnosis.dns import words
from reliable_email.diagnosis.examination import Examination, MessageExamination, RouteExamination
from reliable_email.diagnosis.explanation import Explanation


def as_json(examination: Examination) -> dict[str, Any]:
    """The examination for programs; keys are stable."""
    found = examination.configuration
    return {
        "schema": 1,
        "status": str(examination.verdict),
        "reason": examination.reason,
        "configuration": [
            {"id": one.id, "level": one.level, "message": one.msg, "hint": one.hint} for one in found.messages
        ],
        "routes": [_route_as_json(one) for one in examination.routes],
        "message": _message_as_json(examination.message),
        "dns": words.as_json(examination.domain),
    }


def _route_as_json(one: RouteExamination) -> dict[str, Any]:
    rungs = one.climb.rungs if one.climb is not None else ()
    return {
        "route": one.alias,
        "summary": one.summary,
        "status": str(one.verdict) if one.verdict is not None else None,
        "seconds": round(one.seconds, 4),
        "note": one.note,
        "stages": [
            {"stage": str(rung.stage), "ok": rung.is_ok, "seconds": rung.seconds, "detail": rung.detail}
            for rung in rungs
        ],
        "failure": _explanation_as_json(one.explanation),
    }


def _explanation_as_json(explanation: Explanation | None) -> dict[str, Any] | None:
    if explanation is None:
        return None
    return {
        "stage": str(explanation.stage) if explanation.stage is not None else None,
        "cause": str(explanation.cause),
        "said": explanation.said,
        "meaning": explanation.meaning,
        "remedies": list(explanation.remedies),
        "links": dict(explanation.links),
        "rule": explanation.rule,
    }


def _message_as_json(found: MessageExamination | None) -> dict[str, Any] | None:
    if found is None:
        return None
    recipients = {}
    if found.report is not None:
        recipients = {
            address: {
                "outcome": str(one.outcome),
                "cause": str(one.cause) if one.cause is not None else None,
                "route": one.route,
                "reply": str(one.reply) if one.reply is not None else None,
                "attempts": one.attempts,
            }
            for address, one in found.report.recipients.items()
        }
    return {
        "to": found.recipient,
        "sent": found.is_sent,
        "seconds": round(found.seconds, 4),
        "recipients": recipients,
        "failures": [_explanation_as_json(one) for one in found.explanations],
        "error": found.error,
    }
