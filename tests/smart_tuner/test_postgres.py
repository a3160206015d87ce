import optuna
from smart_tuner.store import open_storage

def test_opens(postgres_url):
    storage = open_storage(postgres_url)
    study = optuna.create_study(storage=storage)
    t = study.ask()
    t.suggest_float("x", 0, 1)
    study.tell(t, 1.0)
    with storage.ours.connect() as c:
        print(c.exec_driver_sql("select table_schema, table_name from information_schema.tables where table_schema in ('optuna','smart_tuner','public')").fetchall())
        print(c.exec_driver_sql("show timezone").fetchall(), c.exec_driver_sql("show search_path").fetchall())
    storage.close()
