def groups():
    return [{"uuid": "24b95582-9e7b-4e0a-9ad1-639773ab7552", "display_name": "Andrew Brown",
             "handle": "andrewbrown"},
            {"uuid": "417c360e-c4e6-4fce-873b-d2d71469b4ac", "display_name": "Worf", "handle": "worf"}]


def of_user(handle):
    return [{"uuid": "4e81c06a-db1f-4ac5-83bc-3ea1ad7ea7d5", "handle": handle, "message": "hello"}]
