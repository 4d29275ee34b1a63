"""Every way to fail that somebody decides on: one root, a safe message, a hint, a status, a code.

`message` and `hint` are shown to people and may be logged: they never hold a submitter's bytes,
receipt, address or file name. Edges (HTTP, argv) catch `RelayError` and nothing finer.
"""

from typing import ClassVar


class RelayError(Exception):
    """The root. An instance may narrow `message`; the class carries everything else."""

    message: str = "Something went wrong on our side."
    hint: ClassVar[str] = ""
    question_hint: ClassVar[str] = ""  # in its place where she asks a question, without a photo
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        """Keep `message` where the class's own words are not precise enough."""
        if message is not None:
            self.message = message
        super().__init__(self.message)


# -- the submitter can mend it ---------------------------------------------------------------


_ASK_AGAIN = "Press Send again: your question still stands below."


class SubmissionRefused(RelayError):
    """Nothing was sent; the page says what to do next and keeps the submitter's text."""

    message = "Your photo was not sent."
    http_status = 400


class PhotoMissing(SubmissionRefused):
    message = "No photo was chosen."
    hint = "Choose the photo, then press Send."


class QuestionMissing(SubmissionRefused):
    message = "There is no question yet."
    hint = "Write it into the field, then press Send."


class QuestionWithPhoto(SubmissionRefused):
    message = "You ticked a question and chose a photo too."
    hint = "Press Send again to ask without the photo. Or tick the photo, and choose it again."


class PhotoUnsupported(SubmissionRefused):
    message = "We can't read this kind of file."
    hint = (
        "Send a photo as JPEG, PNG, WebP or AVIF. On an iPhone: Settings, Camera, Formats, "
        "Most Compatible, then take the photo again. On Android: open the photo, take a "
        "screenshot of it and send the screenshot. Not a video, not a document."
    )
    http_status = 415


class PhotoDamaged(SubmissionRefused):
    message = "The photo did not arrive whole."
    hint = (
        "Choose it again and send it again. If that fails, take a screenshot of the photo and send "
        "the screenshot."
    )


class PhotoTooComplex(SubmissionRefused):
    message = "This picture is too large, or too unusual, to be opened safely."
    hint = "Take a screenshot of the photo and send the screenshot."
    http_status = 413


class TooLarge(SubmissionRefused):
    message = "This file is too large."
    hint = "Take a screenshot of the photo and send the screenshot: it is much smaller."
    http_status = 413


class UploadEndless(TooLarge):
    pass


class TooSlow(SubmissionRefused):
    message = "The connection stopped before the photo had arrived."
    hint = "Try again where the network is better, or send a screenshot of the photo."
    http_status = 408


class TextTooLong(SubmissionRefused):
    message = "The message is too long."
    hint = "Shorten it to 500 characters."


class DayUnreadable(SubmissionRefused):
    message = "We can't read the day."
    hint = "Write it like this: 2026-03-19, or leave it empty."


class FormUnreadable(SubmissionRefused):
    message = "The form did not arrive whole."
    hint = "Choose the photo again and press Send once."
    question_hint = _ASK_AGAIN


class TrapFilled(SubmissionRefused):
    """Programs that fill in every form they find fill this field in too; so may her browser."""

    message = "A field that must stay empty was filled in."
    hint = "Your browser may have done that. Choose the photo again and press Send: now it is gone."
    question_hint = _ASK_AGAIN


class FormExpired(SubmissionRefused):
    message = "This page was open for too long."
    hint = "Choose the photo again and press Send: the form below is fresh."
    question_hint = _ASK_AGAIN
    http_status = 403


class DraftGone(SubmissionRefused):
    message = "Not sent. Choose the photo again."
    hint = (
        "We keep a photo that was not sent for 15 minutes at most. If you had pressed Send already "
        "and the connection broke, it may have arrived all the same: the receipt was lost then."
    )
    http_status = 410


class NotLookedAt(SubmissionRefused):
    message = "Not sent yet. One tick is missing."
    hint = "Look at the whole picture, tick the box above the buttons, and press Send."


class KeepNothing(SubmissionRefused):
    message = "Not sent yet. The whole picture would be covered."
    hint = "Leave some squares free."


class CrossSite(SubmissionRefused):
    message = "This came from another website, so we did not accept it."
    hint = "Open our page yourself and send the photo from there."
    http_status = 403


class ReceiptMistyped(SubmissionRefused):
    message = "This is not a receipt number: a digit is missing or wrong."
    hint = "Compare it with your note and type all 20 digits again."


class PageMissing(SubmissionRefused):
    message = "There is no such page."
    hint = "Go back to the first page."
    http_status = 404


class PosterUnmade(RelayError):
    """It can't be drawn: a font is missing, or the campaign's words don't fit. Says so in a log."""

    message = "We can't make this poster as a file at the moment."
    hint = "Copy its words by hand. That is safer anyway."
    http_status = 503


class HostUnknown(SubmissionRefused):
    message = "There is nothing at this address."
    hint = "Copy the address again, letter by letter."
    http_status = 421


class MethodRefused(SubmissionRefused):
    message = "This is not possible here."
    hint = "Go back to the first page."
    http_status = 405


# -- we can't take it now; the submitter can come back -----------------------------------------


class ComeBack(RelayError):
    """Nothing was kept. The same submission may succeed later."""

    message = "We can't take photos at the moment. Nothing was sent."
    hint = "Keep the photo and come back in an hour."
    http_status = 503


class Busy(ComeBack):
    message = "Too many people are sending at the moment. Nothing was sent."
    hint = "Wait ten minutes and send again."


class QueueFull(ComeBack):
    message = "Our box is full. Nothing was sent."
    hint = "The team empties it once a day. Come back tomorrow."


class Closed(ComeBack):
    message = "We are closed for the moment. Nothing was sent."
    hint = "Come back tomorrow."


class NotKept(ComeBack):
    """The queue could not write: disk full, file locked, file gone or replaced."""

    message = "We could not keep your photo safely, so we kept nothing."


class CantLook(ComeBack):
    """The queue could not be asked about a receipt."""

    message = "We can't look at the moment. Nothing was changed."
    hint = "Try again in a few minutes. Your receipt stays good."


class ScrubFailed(RelayError):
    """The box died, hung or gave back something that is not clean. The photo is gone."""

    message = "We could not clean this photo, so we kept nothing of it."
    hint = "Take a screenshot of the photo and send the screenshot."


class BoxBroken(ScrubFailed):
    """There is no box to open it in, and none could be started: no fault of the photo's."""

    message = ComeBack.message
    hint = ComeBack.hint
    http_status = 503


# -- operator and staff ------------------------------------------------------------------------


class ConfigInvalid(RelayError):
    """A configuration or key file can't be used as it stands; the message names it."""

    exit_code = 2


class NoRecipient(ConfigInvalid):
    """The recipients file is sound and empty, as that of a new campaign is."""


class FontMissing(ConfigInvalid):
    """A poster can't be drawn with what is installed; the message names Debian's package."""


class HeicUnsafe(ConfigInvalid):
    message = (
        "heic = true needs pillow-heif with libheif 1.23.7 or newer: older ones are known to be "
        "vulnerable. Install a newer pillow-heif, or set heic = false."
    )


class WeightsAmiss(ConfigInvalid):
    message = (
        "The files by which faces are found are missing, or not the ones that were measured. "
        "Run scripts/weights, or install the relay again."
    )


class NothingThere(RelayError):
    message = "Nothing there."
    exit_code = 10
    http_status = 404


class LockedByColleague(RelayError):
    message = "A colleague has this submission."
    exit_code = 11
    http_status = 409


class HeldAfterRestore(RelayError):
    """Its sender may have taken it back after the copy from which the relay was set up again."""

    message = "The relay was set up again from a copy: she may have taken this back since."
    http_status = 409


class WrongIdentity(RelayError):
    message = "None of your identities opens this."
    exit_code = 12


class Corrupt(RelayError):
    """Bytes that are not what was sealed, signed or logged. Nothing of them was written."""

    message = "Damaged or altered."
    exit_code = 13
    http_status = 400


class UnsafePlace(RelayError):
    message = "Others can read this place."
    exit_code = 14


class StillVisible(RelayError):
    """Not released: a face or a code can be seen that nobody marked as printed on the poster."""

    message = "Something can be seen that was not marked as printed on the poster."


class DeskRefused(RelayError):
    """Unknown key, bad signature, spent nonce, unknown id: one answer for all of them."""

    message = "Refused."
    http_status = 403


class RelayUnreachable(RelayError):
    message = "The relay did not answer."


# -- posting -----------------------------------------------------------------------------------


class PostRefused(RelayError):
    """The network said no; the same again will be refused again."""

    message = "The network refused."


class PostFailed(RelayError):
    """No answer, or "later". retry_after_s: the pause that the network asked for, if it did."""

    message = "The network did not answer. Try again later."

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        """Keep how long the network wants to be left alone."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PictureGone(PostFailed):
    message = "The network no longer has the picture that was brought there. It must go there anew."


class OutcomeUnknown(RelayError):
    """The post was sent and no answer came: it may stand there. It is not sent again."""

    message = "It may have been posted, or not: no answer came. Look at the account."


class CantTakeDown(RelayError):
    message = "This network does not let a program delete the post. Delete it there by hand."
