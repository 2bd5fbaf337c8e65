import pytest

from selfstudy.text.language import count_words, guess_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The council of the town met in the hall and voted on the bridge.", "en"),
        ("Der Rat der Stadt hat sich im Saal getroffen und über die Brücke abgestimmt.", "de"),
        ("Le conseil de la ville est dans une salle pour voter sur les ponts.", "fr"),
        ("El consejo de la ciudad es más que un grupo de los vecinos.", "es"),
        ("市议会在大厅里开会。", "zh"),
        ("市議会はホールで開かれました。", "ja"),
        ("시의회는 홀에서 열렸습니다.", "ko"),
        ("Городской совет собрался в зале.", "ru"),
        ("اجتمع مجلس المدينة في القاعة.", "ar"),
        ("מועצת העיר התכנסה באולם.", "he"),
        ("สภาเมืองประชุมกัน", "th"),
        ("", "en"),
        ("12345 !!! 🏳️\u200d🌈", "en"),
        ("xyzzy plugh", "en"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_a_name_in_another_script_does_not_decide() -> None:
    assert guess_language("The word 日本 is the name of the country in its own writing, and it is old.") == "en"


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), ("two words", 2), ("这是一个句子啊", 3), ("a 日本語 b", 3), ("Grüße aus Köln", 3)]
)
def test_words(text: str, number: int) -> None:
    assert count_words(text) == number
