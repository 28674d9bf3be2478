"""Text of unknown encoding: what a server's words probably are.

RFC 5321 and RFC 6531 allow ASCII and UTF-8; servers in China, Japan, Korea, Russia and Europe also answer in what their
machines were installed with, and never say in which. Each candidate is tried, and the characters that come out decide:
a wrong decoding yields rare characters, capitals inside words or signs that no sentence has.
"""

from collections.abc import Callable
from functools import lru_cache

# So much of a text is weighed. Choosing is linear in it.
_SAMPLE_BYTES = 2048

_RUSSIAN = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюя")
_WESTERN = frozenset("äöüßéèêëàâçùûîïôœæáíóúñãõåøìòÄÖÜÉÈÀÇÅØÑÁÍÓÚÆÊ’")
_SIGNS = frozenset("«»¿¡°§€‘“”„–—…·")
_CENTRAL = frozenset("ąćęłńóśźżáčďéěíňřšťúůýžőűöüäâîșțşţăđßÁČĎÉÍŇÓŘŠŤÚÝŽĄĆĘŁŃŚŹŻŐŰÖÜÄÂÎŞŢĂ’")
_TURKISH = frozenset("çğıöşüâîûÇĞİÖŞÜ’")
_GREEK = frozenset("αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋΐΰ")
_KANA = frozenset(map(chr, range(0x3041, 0x30FF)))
# The characters of refusals: mail, user, address, server, refuse, exist, send, receive, limit, login and what is
# between them. A hundred of them tell more than frequencies over all texts would.
_SIMPLIFIED = frozenset(
    "的一不了人我在有他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于起还发成事"
    "只作当想看文无开手主又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名"
    "邮件箱用户址服务器收送拒绝被您请使授权码登录失败证信息限制超频率太快连接错误误反垃圾黑单列表存找到域系统繁忙稍再试尝重新密账号停禁止冻结"
    "容量满空间附过滤病毒容内策略规则符合认验查询更改正确检测可疑异常行发接达最每钟数次须先客端登陆求解析非许允问题联系管员详细访页链载帐帮助"
    "需支持状态提供级别口令格式检由因此安全门网络通讯未已该件主机源目标转投递退原处效输入命令语句未知或者暂时永久开启关闭设置第方软独专享"
)
_TRADITIONAL = frozenset(
    "的一不是在有我這個您請使用者帳號密碼登入失敗郵件信箱地址伺服器主機拒絕收寄送發件人不存在無法連線驗證網域超過限制流量大小容量已滿空間附件病毒"
    "垃圾黑名單封鎖錯誤系統忙碌稍後再試管理員聯絡查詢設定更新權限格式內容請求被對方認可未授權停用關閉通知原因訊息查無此此為或與於中以及和到可能"
    "需要時間次數過多頻率太快來源轉寄退回暫時永久開啟"
)
_KOREAN = frozenset(
    "메일사용자수신발신서버거부차단존재하지않는습니다입않습를을이가은에의로으와과도한할해주소없된되었있니스팸인증실패로그비밀번호계정접속제한초과"
    "용량부족정책위반관리문나중다시시도잘못도메인전송보낸받는람권한필요오류너무많음아이디확디바랍니다요청합니대상등록등기간만료휴면첨파일내크"
)


def _alphabet(letters: frozenset[str]) -> Callable[[str], float]:
    """Weigh an alphabet of its own: its words hold no ASCII letters, and no capital behind a small letter."""

    def weigh(text: str) -> float:
        value = 0.0
        before = ""
        for char in text:
            lower = char.lower()
            is_letter = lower in letters
            if before and (_is_latin(char) if before.lower() in letters else is_letter):
                value -= 3.0  # two alphabets in one word
            elif not is_letter:
                value -= 0.0 if char.isascii() else 3.0
            elif char == lower:
                value += 1.5
            else:
                # Two encodings of Cyrillic have each other's cases.
                value += -2.0 if before in letters else 0.5
            before = char if is_letter or _is_latin(char) else ""
        return value

    return weigh


def _is_latin(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _accented(common: frozenset[str]) -> Callable[[str], float]:
    """Weigh a Latin alphabet: its letters stand among ASCII letters, seldom three in a row."""

    def weigh(text: str) -> float:
        value = 0.0
        run = 0
        before = " "
        for char in text:
            if char.isascii():
                run = 0
            else:
                run += 1
                is_right = char in common or (char in _SIGNS and not before.isalnum())
                value += (1.0 if is_right else -3.0) if run < 3 else -2.0
            before = char
        return value

    return weigh


def _ideographs(common: frozenset[str]) -> Callable[[str], float]:
    """Weigh a script of two bytes a character; a single one between ASCII letters is a wrong reading of an accent."""

    def weigh(text: str) -> float:
        value = 0.0
        for before, char, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
            if char.isascii():
                continue
            if _is_latin(before) and (_is_latin(after) or after == " "):
                value -= 4.0
            elif char in common:
                value += 3.0
            elif "\u3000" <= char <= "\u303f" or "\uff01" <= char <= "\uff5e" or char in "“”‘’…—·":
                value += 1.0
            elif "\u4e00" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3":
                value -= 0.5
            else:
                value -= 4.0
        return value

    return weigh


def _well_formed(text: str) -> float:
    return sum(-6.0 if char == "\ufffd" else 4.0 for char in text if char > "\x7f")


# Of two that weigh the same, the first is taken.
_CANDIDATES: tuple[tuple[str, Callable[[str], float]], ...] = (
    ("cp1252", _accented(_WESTERN)),
    ("gb18030", _ideographs(_SIMPLIFIED)),
    ("big5", _ideographs(_TRADITIONAL)),
    ("shift_jis", _ideographs(_KANA)),
    ("cp932", _ideographs(_KANA)),
    ("euc_jp", _ideographs(_KANA)),
    ("cp949", _ideographs(_KOREAN)),
    ("koi8_r", _alphabet(_RUSSIAN)),
    ("cp1251", _alphabet(_RUSSIAN)),
    ("cp866", _alphabet(_RUSSIAN)),
    ("iso8859_5", _alphabet(_RUSSIAN)),
    ("iso8859_2", _accented(_CENTRAL)),
    ("cp1250", _accented(_CENTRAL)),
    ("iso8859_9", _accented(_TURKISH)),
    ("iso8859_7", _alphabet(_GREEK)),
)


def decoded(raw: bytes) -> str:
    """The text of bytes that should be UTF-8; never raises, and never longer than they are."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(_charset(raw[:_SAMPLE_BYTES]), "replace")
    if "\x1b$" in text:
        try:
            return raw.decode("iso2022_jp")
        except UnicodeDecodeError:
            return text
    return text


@lru_cache(maxsize=64)
def _charset(sample: bytes) -> str:
    best = "utf-8"  # cut in the middle of a character, or with one that is broken
    most = _well_formed(sample.decode("utf-8", "replace"))
    for name, weigh in _CANDIDATES:
        try:
            text = sample.decode(name)
        except UnicodeDecodeError as error:
            if error.start < len(sample) - 3:
                continue
            # The sample ends inside a character.
            value = weigh(sample[: error.start].decode(name)) - 3.0
        else:
            value = weigh(text)
        if value > most:
            best, most = name, value
    return best
