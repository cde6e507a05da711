"Fixtures of the batch's tests."
import pytest

from night import Night

@pytest.fixture
def night(tmp_path) -> Night: return Night(tmp_path, 6)
