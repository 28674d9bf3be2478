"""The encoding of a server's words, told by what comes out of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.smtp.syntax.charsets import decoded
from reliable_email.smtp.syntax.replies import ReplyParser

SAID = {
    "utf-8": ["請使用授權碼登入", "Пользователь не найден", "Boîte pleine", "메일 거부"],
    "gb18030": [
        "请使用授权码登录。",
        "用户无权登陆",
        "邮件内容被拒绝",
        "没有经过认证",
        "信箱已满",
        "您的IP已被列入黑名单",
        "拒绝",
    ],
    "big5": ["請使用者帳號密碼登入", "郵件被拒絕", "信箱容量已滿", "收件人不存在", "無此使用者"],
    "shift_jis": ["メールボックスが見つかりません", "ユーザーが存在しません", "宛先不明です"],
    "euc_jp": ["メールボックスが見つかりません", "認証に失敗しました"],
    "iso2022_jp": ["メールボックスが見つかりません"],
    "cp949": ["존재하지 않는 사용자입니다", "메일 수신이 거부되었습니다", "인증 실패", "메일함 용량 초과"],
    "koi8_r": ["Пользователь не найден", "почтовый ящик переполнен", "Ошибка", "Неверный пароль"],
    "cp1251": ["Пользователь не найден", "отказано", "Письмо отклонено как спам"],
    "cp866": ["Пользователь не найден", "почтовый ящик переполнен"],
    "cp1252": ["Benutzer ungültig", "Adresse IP bloquée", "Usuário não encontrado", "l’adresse n’existe pas", "Größe"],
    "iso8859_2": ["Użytkownik nie istnieje", "Schránka je plná", "Neexistující uživatel", "Nieprawidłowe hasło"],
    "cp1250": ["Użytkownik nie istnieje", "Nieprawidłowe hasło"],
    "iso8859_7": ["Ο χρήστης δεν υπάρχει"],
}
CASES = [(charset, text) for charset, texts in SAID.items() for text in texts]


@pytest.mark.parametrize("around", ["{}", "Error: {}", "Requested action refused: {} see http://help.example/"])
@pytest.mark.parametrize(("charset", "text"), CASES)
def test_words_are_read_in_the_encoding_that_makes_sense_of_them(charset: str, text: str, around: str) -> None:
    """Nobody says the encoding, so a person must get the words and not a row of U+FFFD."""
    said = around.format(text)
    assert decoded(said.encode(charset)) == said


@pytest.mark.parametrize(("charset", "text"), CASES)
def test_a_reply_shows_them(charset: str, text: str) -> None:
    """All lines of a reply are in one encoding; codes and enhanced statuses are taken off as ever."""
    parser = ReplyParser()
    parser.feed(b"550-5.7.1 mx.example.com says\r\n550 5.7.1 " + text.encode(charset) + b"\r\n")
    reply = parser.next_reply()
    assert reply is not None
    assert (reply.code, reply.enhanced, reply.lines) == (550, "5.7.1", ("mx.example.com says", text))


def test_utf_8_that_was_cut_inside_a_character_stays_utf_8() -> None:
    """Servers cut their lines at a number of bytes."""
    cut = "550 请使用授权码登录邮件被拒绝".encode()[:-1]
    assert decoded(cut) == "550 请使用授权码登录邮件被拒\ufffd"


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(raw: bytes) -> None:
    """Whatever a server sends becomes text, which is never longer than its bytes."""
    assert len(decoded(raw)) <= len(raw)
