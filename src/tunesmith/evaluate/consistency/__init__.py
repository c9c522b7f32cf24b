"""Does the model answer alike when it is asked again, or asked in other words?"""
